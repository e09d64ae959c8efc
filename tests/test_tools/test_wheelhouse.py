"""The folder of packages, collected and read with made-up wheels."""

import hashlib
import importlib.util
import io
import re
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

TOOL = Path(__file__).parents[2] / 'tools' / 'wheelhouse.py'
PYTHON = '{}.{}'.format(*sys.version_info)


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('wheelhouse', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_wheel(folder, name, version, requires=(), tag='py3-none-any'):
    file = folder / f'{name.replace("-", "_")}-{version}-{tag}.whl'
    lines = [f'Requires-Dist: {one}\n' for one in requires]
    with zipfile.ZipFile(file, 'w') as wheel:
        info = f'{name.replace("-", "_")}-{version}.dist-info'
        wheel.writestr(f'{info}/METADATA', f'Name: {name}\n' + ''.join(lines))
    return file


def make_source(folder, name, version, requires=()):
    top = f'{name.replace("-", "_")}-{version}'
    lines = [f'Requires-Dist: {one}\n' for one in requires]
    text = f'Name: {name}\n{"".join(lines)}\nThe readme\n'.encode()
    with tarfile.open(folder / f'{top}.tar.gz', 'w:gz') as archive:
        info = tarfile.TarInfo(f'{top}/PKG-INFO')
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    return folder / f'{top}.tar.gz'


@pytest.fixture
def walk(tool, tmp_path):
    """Walks over made-up packages: names to install, what stays."""

    def call(roots, packages=None, present=None, python='3.12'):
        for name, requires in (packages or {}).items():
            make_wheel(tmp_path, name, '1.0', requires)
        present = {k: v and Version(v) for k, v in (present or {}).items()}
        roots = [Requirement(root) for root in roots]
        fetch = tool.reader(tmp_path)
        files, stays = tool.walk(roots, python, present, fetch)
        return sorted(files), stays

    return call


def test_no_requirements_no_packages(walk):
    assert walk([]) == ([], [])


def test_markers_are_judged_for_the_other_python(walk):
    packages = {
        'a': ['b; python_version < "3.11"', 'c; sys_platform == "win32"'],
        'b': ['d; python_full_version <= "3.11.0a6"'],
        'd': [],
    }
    assert walk(['a'], packages, python='3.10') == (['a', 'b', 'd'], [])
    assert walk(['a'], packages, python='3.12') == (['a'], [])


def test_an_extra_that_is_asked_for_later_counts(walk):
    packages = {'a': ['b'], 'b': ['c', 'd; extra == "x"'], 'c': ['b[x]']}
    packages['d'] = ['a']
    assert walk(['a'], packages)[0] == ['a', 'b', 'c', 'd']


def test_what_is_there_stays_unless_too_old(walk):
    packages = {'a': ['b>=2', 'c<3', 'd==1.*', 'e~=1.0', 'pip'], 'b': []}
    packages |= {'e': []}
    present = {'b': '1.9', 'c': '3.1', 'd': '1.5', 'e': None}
    with pytest.raises(SystemExit, match='lacks b>=2: collect it again'):
        walk(['a'], packages, present)
    packages['a'][0] = 'b>=0.9'
    assert walk(['a'], packages, present) == (['a'], ['c 3.1; a asks for c<3'])
    present['e'] = '0.9'
    assert walk(['a'], packages, present)[0] == ['a', 'e']


def test_any_opencv_will_do(walk):
    packages = {'a': ['opencv-python<4.13', 'opencv-python-headless'], 'b': []}
    assert walk(['a'], packages, {'opencv': '5.0'}) == (
        ['a'],
        ['opencv-python 5.0; a asks for opencv-python<4.13'],
    )
    both = ['opencv-python', 'opencv-python-headless']
    packages |= dict.fromkeys(both, ())
    assert walk(['a'], packages)[0] == ['a', *both]


def test_numpy_of_the_system_is_never_replaced(walk):
    with pytest.raises(SystemExit) as end:
        walk(['numpy>=2'], {'numpy': []}, {'numpy': '1.26.4'})
    assert str(end.value) == (
        'error: numpy 1.26.4 is there, fx_mm needs numpy>=2: update it, or '
        'set up without it'
    )


def test_reader_takes_what_fits_this_machine(tool, tmp_path):
    source = make_source(tmp_path, 'onedl-mmcv', '2.3.6', ['addict'])
    other = make_wheel(tmp_path, 'numpy', '2.2', tag='cp39-cp39-win_amd64')
    fetch = tool.reader(tmp_path)
    name = 'onedl-mmcv'
    assert fetch({name: Requirement(f'{name}==2.3.6')}) == {name: source}
    assert [str(r) for r in tool.requirements_of(source)] == ['addict']
    with pytest.raises(SystemExit, match=f'lacks {name}==2.4'):
        fetch({name: Requirement(f'{name}==2.4')})
    message = re.escape(f'{other.name} does not fit Python {PYTHON}, ')
    with pytest.raises(SystemExit, match=message):
        fetch({'numpy': Requirement('numpy')})
    fitting = make_wheel(tmp_path, 'numpy', '2.2')
    assert fetch({'numpy': Requirement('numpy')}) == {'numpy': fitting}


def test_pip_list_in_each_form(tool, tmp_path):
    file = tmp_path / 'have.txt'
    file.write_text(
        'Package    Version\n---------- -------\nPyYAML     6.0.3\n'
        'torch==2.11.0+cu130\nopencv-python-headless==5.0.0.93\n'
        'mine @ file:///somewhere\n-e git+x\n\nscikit_image\n'
    )
    assert tool.read_have(file) == {
        'package': None,
        'pyyaml': Version('6.0.3'),
        'torch': Version('2.11.0+cu130'),
        'opencv': Version('5.0.0.93'),
        'mine': None,
        'scikit-image': None,
    }


@pytest.fixture
def index(tool, monkeypatch):
    """Stands for pip and its index: what was asked of them."""
    calls = []

    def pip(command, folder, *words):
        calls.append((command, *words))
        for word in words:
            name, _, version = word.partition('==')
            if name == tool.MMCV and version:
                make_source(folder, name, version, ['numpy', 'addict'])
            elif version:
                make_wheel(folder, name, version, ['pip', 'numpy'])
            elif name == 'torchvision':
                make_wheel(folder, name, '0.24', ['torch==2.9.1'])

    monkeypatch.setattr(tool, 'pip', pip)
    return calls


def collected(folder):
    sums = (folder / 'SHA256SUMS').read_text().splitlines()
    names = []
    for line in sums:
        digest, name = line.split('  ')
        data = (folder / name).read_bytes()
        assert digest == hashlib.sha256(data).hexdigest()
        names.append(name.partition('-')[0])
    files = {file.name for file in folder.iterdir()}
    listed = {line.split('  ')[1] for line in sums}
    assert files == listed | {'SHA256SUMS', 'WHEELHOUSE'}
    return names


def test_collect_what_the_other_machine_lacks(tool, index, tmp_path):
    """``wheelhouse.py collect`` leaves out the torch that is there."""
    folder = tmp_path / 'new'
    have = tmp_path / 'have.txt'
    have.write_text('pydicom==2.4.4\npycocotools==1.0\nscipy\n')
    tool.collect(folder, '3.10', 'installed', None, tests=True)
    everything = collected(folder)
    assert {'addict', 'numpy', 'onedl_mmcv', 'pydicom'} <= {*everything}
    assert 'ruff' in everything and 'torch' not in everything
    note = (folder / 'WHEELHOUSE').read_text()
    assert note == 'python 3.10\ntorch installed\ntests 1\n'
    options = [word for call in index for word in call]
    assert 'manylinux_2_28_x86_64' in options
    assert options[options.index('--python-version') + 1] == '3.10'
    assert ('wheel', '--no-deps') in {call[:2] for call in index}

    index.clear()
    tool.collect(folder, '3.10', 'installed', have, tests=False)
    assert not index, 'what is there was downloaded again'
    less = collected(folder)
    assert {*everything} - {*less} >= {'pycocotools', 'scipy', 'ruff'}
    assert {'addict', 'pydicom', 'numpy'} <= {*less}
    assert (folder / 'WHEELHOUSE').read_text().endswith('tests 0\n')


def test_collect_a_torch(tool, index, tmp_path):
    tested = str(tool.read_pins('3.12')['torch'].specifier)
    tool.collect(tmp_path / 'a', '3.12', None, None, tests=False)
    assert 'torch' in collected(tmp_path / 'a')
    assert not [call for call in index if '-c' in call]
    note = (tmp_path / 'a' / 'WHEELHOUSE').read_text()
    assert f'torch {tested[2:]}\n' in note

    index.clear()
    have = tmp_path / 'have.txt'
    have.write_text('torch==2.8\nnvidia-cublas==13\nscipy==1.17\n')
    tool.collect(tmp_path / 'b', '3.12', '2.9.1', have, tests=False)
    assert index[0][-2:] == ('torch==2.9.1', 'torchvision')
    names = collected(tmp_path / 'b')
    assert {'torch', 'torchvision'} <= {*names} and 'scipy' not in names
    assert (tmp_path / 'b' / 'torchvision-0.24-py3-none-any.whl').is_file()

    tool.collect(tmp_path / 'c', '3.12', None, have, tests=False)
    assert 'torch' not in collected(tmp_path / 'c')


def test_collect_refuses(run, tool, tmp_path):
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(SystemExit, match='thesis|holds other things'):
        tool.collect(tmp_path, '3.12', 'installed', None, tests=True)
    assert (tmp_path / 'thesis.tex').exists()
    new = tmp_path / 'new'
    with pytest.raises(SystemExit, match='there is no .*have.txt'):
        have = tmp_path / 'have.txt'
        tool.collect(new, '3.12', 'installed', have, tests=True)
    code, _, _ = run('wheelhouse', 'collect', new, '--python', '3.9')
    assert code == 'error: fx_mm runs on Python 3.10 to 3.13, not on 3.9'
    assert not new.exists()


def test_missing_lists_all_but_mmcv(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, 'installed', dict)
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / 'WHEELHOUSE').write_text(
        f'python {PYTHON}\ntorch installed\ntests 0\n'
    )
    roots = tool.read_roots(PYTHON, tests=False)
    pins = tool.read_pins(PYTHON)
    names = {tool.canonicalize_name(root.name) for root in roots}
    for name in names - {tool.MMCV}:
        make_wheel(folder, name, str(pins[name].specifier)[2:])
    make_source(folder, tool.MMCV, str(pins[tool.MMCV].specifier)[2:])
    tool.missing(folder, tmp_path / 'list.txt')
    lines = (tmp_path / 'list.txt').read_text().splitlines()
    assert lines == sorted(
        f'{name}{pins[name].specifier}' for name in names - {tool.MMCV}
    )
    assert capsys.readouterr().out == ''


def test_mmcv_is_compiled_whatever_is_there(tool, monkeypatch):
    monkeypatch.setattr(sys, 'prefix', '/')  # nothing is shared
    assert tool.installed() == {}
    monkeypatch.setattr(sys, 'prefix', '/another')
    present = tool.installed()
    assert present['torch'] == Version(metadata.version('torch'))
    assert tool.MMCV not in present and 'onedl-mmengine' in present
    assert 'opencv' in present and 'opencv-python' not in present


def requires(name):
    try:
        return metadata.requires(name) or ()
    except metadata.PackageNotFoundError:  # a set-up with TESTS=0
        return ()


def test_every_installed_requirement_has_a_pin(tool):
    """Else a folder for a machine without a network could not be collected."""
    pins = tool.read_pins(PYTHON)
    level = tool.read_roots(PYTHON, tests=True)
    seen = set()
    while level:
        requirement = level.pop()
        name = tool.canonicalize_name(requirement.name)
        for extra in ('', *requirement.extras):
            if name == 'pip' or (name, extra) in seen:
                continue
            seen.add((name, extra))
            assert name in pins
            level += [
                one
                for one in map(Requirement, requires(name))
                if tool.holds(one, PYTHON, extra)
            ]
    assert len(seen) > 60
