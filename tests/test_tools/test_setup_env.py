"""The set-up script: what it refuses, and a rehearsal without a network."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = '{}.{}'.format(*sys.version_info)


def setup_script(folder, *arguments, **env):
    """Runs the set-up script of a checkout that has no .venv."""
    return subprocess.run(
        ['bash', str(folder / 'tools' / 'setup_env.sh'), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | env,
    )


@pytest.fixture
def checkout(tmp_path):
    for name in ('tools', 'requirements'):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / 'setup.py', tmp_path)
    (tmp_path / 'fx_mm').mkdir()
    shutil.copy(ROOT / 'fx_mm' / 'version.py', tmp_path / 'fx_mm')
    return tmp_path


def commands(folder, *names):
    """Makes a PATH that holds nothing but the named commands."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


BASICS = ('bash', 'cat', 'cut', 'dirname', 'flock', 'head', 'mkdir')
BASICS += ('sha256sum', 'true')


def test_setup_names_a_missing_python(checkout, tmp_path):
    path = commands(tmp_path / 'bin', *BASICS)
    result = setup_script(checkout, PATH=path)
    assert result.returncode == 1
    assert result.stderr.count('\n') == 1
    assert 'no Python 3.10 to 3.13 found; apt-get install' in result.stderr
    assert not (checkout / '.venv').exists()


def test_setup_refuses_another_python(checkout, tmp_path):
    old = tmp_path / 'python'
    old.write_text('#!/bin/sh\nexit 1\n')
    old.chmod(0o755)
    result = setup_script(checkout, PYTHON=str(old))
    assert result.returncode == 1
    assert result.stderr == (
        f'setup: PYTHON={old} is no Python 3.10 to 3.13; name one that is\n'
    )
    assert not (checkout / '.venv').exists()


def test_setup_names_a_missing_compiler(checkout, tmp_path):
    path = commands(tmp_path / 'bin', *BASICS)
    result = setup_script(checkout, PATH=path, PYTHON=sys.executable)
    assert result.returncode == 1
    assert result.stderr == 'setup: no g++ found; apt-get install g++\n'
    assert not (checkout / '.venv').exists()


def functions(checkout, code):
    """Runs code behind the functions of the set-up script."""
    text = (checkout / 'tools' / 'setup_env.sh').read_text()
    head = text[: text.index('\nexec 9<')]
    script = checkout / 'tools' / 'functions.sh'
    script.write_text(f'{head}\n{code}\n')
    return subprocess.run(['bash', script], capture_output=True, text=True)


def test_setup_explains_a_failed_step(checkout, tmp_path):
    """An index that lacks a version: cause, remedy and log in one line."""
    log = tmp_path / 'fake.log'
    log.write_text('ERROR: No matching distribution found for torch==2.14.1\n')
    result = functions(checkout, f"explain {log} 'read it' \"step 'torch'\"")
    assert result.returncode == 1
    assert result.stderr.count('\n') == 1
    assert "step 'torch' failed: the package index lacks" in result.stderr
    assert 'torch==2.14.1' in result.stderr
    assert str(log) in result.stderr


USAGE = 'usage: tools/setup_env.sh [--offline FOLDER [--system-torch]]\n'


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        (['--offline'], '--offline names no folder; '),
        (['--system-torch'], '--system-torch needs --offline; '),
        (['--ofline', 'x'], 'unknown argument --ofline; '),
    ],
)
def test_setup_refuses_arguments(checkout, arguments, error):
    result = setup_script(checkout, *arguments)
    assert result.returncode == 1
    assert result.stderr == f'setup: {error}{USAGE}'
    assert not (checkout / '.venv').exists()


@pytest.fixture
def folder(tmp_path):
    """A wheelhouse with nothing in it."""
    path = tmp_path / 'wheel house'
    path.mkdir()
    (path / 'WHEELHOUSE').write_text(
        f'python {PYTHON}\ntorch installed\ntests 0\n'
    )
    (path / 'empty').touch()
    digest = hashlib.sha256(b'').hexdigest()
    (path / 'SHA256SUMS').write_text(f'{digest}  empty\n')
    return path


def refusal(checkout, *arguments, **env):
    """Runs an offline set-up that must fail in one sentence."""
    result = setup_script(checkout, *arguments, **env)
    assert result.returncode == 1
    assert result.stderr.count('\n') == 1
    return result.stderr


def test_offline_needs_a_whole_folder(checkout, folder):
    error = refusal(checkout, '--offline', 'nowhere')
    path = checkout / 'nowhere'
    assert error.startswith(f'setup: {path} is no wheelhouse; name the folder')

    (folder / 'empty').write_text('not empty')
    error = refusal(checkout, '--offline', folder)
    assert f'{folder} is damaged (empty: FAILED); collect or copy' in error
    (folder / 'SHA256SUMS').unlink()
    error = refusal(checkout, '--offline', folder)
    assert f'{folder} is damaged (sha256sum: SHA256SUMS: No such' in error
    assert not (checkout / '.venv').exists()


def test_offline_needs_the_python_of_the_folder(checkout, folder, tmp_path):
    (folder / 'WHEELHOUSE').write_text('python 3.9\n')
    python = sys.executable
    error = refusal(checkout, '--offline', folder, PYTHON=python)
    assert error == (
        f'setup: PYTHON={python} is no Python 3.9; name one that is\n'
    )
    path = commands(tmp_path / 'bin', *BASICS, 'sed')
    error = refusal(checkout, '--offline', folder, PATH=path)
    assert error.startswith('setup: no Python 3.9 found; set PYTHON, or coll')
    assert not (checkout / '.venv').exists()


def test_offline_needs_the_torch_of_the_system(checkout, folder, tmp_path):
    bare = tmp_path / 'python'
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    arguments = ('--offline', folder, '--system-torch')
    error = refusal(checkout, *arguments, PYTHON=str(bare))
    wanted = f'is no Python {PYTHON} with a torch; name one that is'
    assert error == f'setup: PYTHON={bare} {wanted}\n'
    path = commands(tmp_path / 'bin', *BASICS, 'sed')
    error = refusal(checkout, *arguments, PYTHON=sys.executable, PATH=path)
    assert error == 'setup: no g++ found; apt-get install g++\n'
    assert not (checkout / '.venv').exists()


def test_offline_names_what_the_folder_lacks(checkout, folder):
    """Up to here nothing but .venv was made."""
    arguments = ('--offline', folder, '--system-torch')
    error = refusal(checkout, *arguments, PYTHON=sys.executable)
    assert f'setup: {folder} lacks onedl-mmcv==' in error
    assert 'collect it again for this machine' in error


def test_a_later_call_repeats_what_the_first_was_told(checkout):
    state = 'echo "$offline|$system_torch|${PYTHON:-}|${FX_MM_CUDA:-}"'
    (checkout / '.venv').mkdir()
    options = checkout / '.venv' / 'setup-options'

    def recalled(*arguments):
        words = ' '.join(arguments)
        code = f'read_arguments {words}\nrecall {words}\n{state}'
        done = functions(checkout, f'unset PYTHON FX_MM_CUDA\n{code}')
        assert not done.stderr
        return done.stdout

    assert recalled() == '|||\n'
    options.write_text('/my folder\nyes\n/opt/python3\n0\n')
    assert recalled() == '/my folder|yes|/opt/python3|0\n'
    assert recalled('--offline', '/other') == '/other|||\n'
    both = ('--offline', "'/my folder'", '--system-torch')
    assert recalled(*both) == '/my folder|yes|/opt/python3|0\n'


def test_packages_of_another_venv_are_shared(checkout):
    """--system-site-packages would show those of its base Python."""
    venv = checkout / '.venv'
    command = [sys.executable, '-m', 'venv', '--without-pip', venv]
    subprocess.run(command, check=True)
    code = f"python='{sys.executable}'\nshare_packages"
    assert functions(checkout, code).returncode == 0
    code = 'import importlib.util as u; print(u.find_spec("torch").origin)'
    for python in (sys.executable, venv / 'bin' / 'python'):
        found = subprocess.check_output([python, '-c', code], text=True)
        assert found.strip() == find_spec('torch').origin
    config = (venv / 'pyvenv.cfg').read_text()
    assert 'include-system-site-packages = false' in config


FORKS = ['mmengine', 'mmdetection', 'mmsegmentation', 'mmpretrain']


def repack(distribution, folder):
    """Makes a wheel of what is installed."""
    name = distribution.metadata['Name'].replace('-', '_')
    file = folder / f'{name}-{distribution.version}-py3-none-any.whl'
    record = []
    with zipfile.ZipFile(file, 'w') as wheel:
        for path in distribution.files:
            if path.name != 'RECORD' and '..' not in path.parts:
                wheel.write(path.locate(), str(path))
                record.append(f'{path},,\n')
        info = f'{name}-{distribution.version}.dist-info'
        wheel.writestr(f'{info}/RECORD', ''.join(record))


def make_wheelhouse(folder):
    """A folder with the forks, and a source of mmcv that nobody compiles."""
    folder.mkdir()
    for fork in FORKS:
        repack(metadata.distribution(f'onedl-{fork}'), folder)
    top = f'onedl_mmcv-{metadata.version("onedl-mmcv")}'
    info = folder / 'PKG-INFO'
    info.write_text('Name: onedl-mmcv\n')
    with tarfile.open(folder / f'{top}.tar.gz', 'w:gz') as source:
        source.add(info, f'{top}/PKG-INFO')
    info.unlink()
    sums = [
        f'{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n'
        for file in folder.iterdir()
    ]
    (folder / 'SHA256SUMS').write_text(''.join(sums))
    (folder / 'WHEELHOUSE').write_text(f'python {PYTHON}\ntests 1\n')


def make_system(folder):
    """A venv with all that this one has, but for OpenMMLab's and ours."""
    command = [sys.executable, '-m', 'venv', '--without-pip', folder]
    subprocess.run(command, check=True)
    (site,) = folder.glob('lib/python*/site-packages')
    hidden = {
        path.parts[0]
        for name in ('fx-mm', 'mmcv', *FORKS)
        for path in metadata.distribution(f'onedl-{name}').files
    }
    for path in metadata.distribution('torch').locate_file('').iterdir():
        if path.name not in hidden:
            (site / path.name).symlink_to(path)
    return folder / 'bin' / 'python'


@pytest.mark.slow
def test_rehearsal_without_a_network(tmp_path, monkeypatch):
    key = ROOT / '.venv' / 'mmcv-key'
    home = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache'))
    cache = Path(os.environ.get('FX_MM_CACHE', home / 'fx_mm')) / 'wheels'
    if not key.is_file() or not (cache / key.read_text().strip()).is_dir():
        pytest.skip('no compiled wheel of mmcv is kept, a new takes minutes')
    checkout = tmp_path / 'checkout'
    ignored = ('.*', 'data', 'work_dirs', '*.egg-info', '__pycache__')
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*ignored))
    folder = tmp_path / 'wheel house'
    make_wheelhouse(folder)
    python = make_system(tmp_path / 'system')
    # nothing listens there
    env = {'PYTHON': str(python), 'PIP_INDEX_URL': 'http://127.0.0.1:9/'}
    env['PYTHONPATH'] = ''
    arguments = ('--offline', folder, '--system-torch')
    done = setup_script(checkout, *arguments, **env)
    assert done.returncode == 0, done.stderr
    assert 'setup: mmcv      from the cache' in done.stdout

    venv = checkout / '.venv'
    (site,) = venv.glob('lib/python*/site-packages')
    own = {path.name.split('-')[0] for path in site.glob('*.dist-info')}
    assert own == {f'onedl_{name}' for name in ('fx_mm', 'mmcv', *FORKS)}
    code = 'import fx_mm, mmdet, torch; '
    code += 'print(fx_mm.__file__, mmdet.__file__, torch.__file__)'
    ours, fork, torch = subprocess.check_output(
        [venv / 'bin' / 'python', '-c', code],
        text=True,
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': ''},
    ).split()
    assert Path(ours).is_relative_to(checkout)
    assert Path(fork).is_relative_to(site)
    assert Path(torch).is_relative_to(tmp_path / 'system')

    # `make test` over there; then with other requirements
    monkeypatch.delenv('PYTHON', raising=False)
    again = setup_script(checkout, PYTHONPATH='')
    assert (again.returncode, again.stdout, again.stderr) == (0, '', '')
    with (checkout / 'requirements' / 'tests.txt').open('a') as file:
        file.write('fx-mm-needs-more\n')
    again = setup_script(checkout, PYTHONPATH='')
    assert 'lacks fx-mm-needs-more: collect it again' in again.stderr
    assert (site / 'mmdet').is_dir(), '.venv was made anew'
    shutil.rmtree(folder)
    again = setup_script(checkout, PYTHONPATH='')
    assert again.stderr.startswith(f'setup: {folder} is no wheelhouse; ')
