"""The set-up script: what it refuses, and a rehearsal without a network."""

import hashlib
import os
import shutil
import subprocess
import sys
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
