"""Requirements, the wheel and what mim finds in it."""

import csv
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from fx_mm.version import __version__

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / 'requirements'
OPTIONAL = {'pylibjpeg-libjpeg'}
PYTHONS = ('3.10', '3.11', '3.12', '3.13')
PYTHON = '{}.{}'.format(*sys.version_info)


def read(name):
    lines = (REQUIREMENTS / f'{name}.txt').read_text().splitlines()
    lines = [line.partition('#')[0].strip() for line in lines]
    return [Requirement(line) for line in lines if line]


def holds(pin, python):
    return pin.marker is None or pin.marker.evaluate(
        {'python_version': python}
    )


def pins(python):
    return {
        canonicalize_name(pin.name): Version(str(pin.specifier)[2:])
        for pin in read('constraints')
        if holds(pin, python)
    }


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize(
    'name',
    [
        *('build', 'runtime', 'openmmlab', 'tests', 'optional'),
        *('app', 'dicom', 'hub', 'tracking'),
    ],
)
def test_tested_versions_satisfy_the_requirements(name, python):
    tested = pins(python)
    for requirement in read(name):
        key = canonicalize_name(requirement.name)
        if key in OPTIONAL:
            continue
        assert key in tested, f'{key} has no tested version'
        assert tested[key] in requirement.specifier


@pytest.mark.parametrize('python', PYTHONS)
def test_constraints_pin_every_version_once(python):
    constraints = [p for p in read('constraints') if holds(p, python)]
    names = [canonicalize_name(pin.name) for pin in constraints]
    assert len(names) == len(set(names))
    assert all(re.match('==', str(p.specifier)) for p in constraints)
    assert 'pylibjpeg-libjpeg' not in names


def test_no_openmmlab_package_is_a_hard_dependency():
    """A plain install of onedl-mmcv has no operators; and the forks must not
    land on top of the originals.
    """
    names = {canonicalize_name(r.name) for r in read('runtime')}
    assert not [n for n in names if n.startswith(('onedl', 'mm'))]
    assert 'onedl-mmcv' not in {r.name for r in read('openmmlab')}


def test_one_version_everywhere():
    cited = (ROOT / 'CITATION.cff').read_text()
    assert f'\nversion: {__version__}\n' in cited
    released = re.search(r'\ndate-released: (\S+)\n', cited)[1]
    changes = (ROOT / 'CHANGELOG.md').read_text()
    newest = re.search(r'\n## (\[\d.*)\n', changes)[1]
    assert newest == f'[{__version__}] - {released}'


def test_one_list_of_pythons_everywhere():
    script = (ROOT / 'tools' / 'setup_env.sh').read_text()
    assert f'({", ".join(PYTHONS[0].split("."))}) <=' in script
    assert f'<= ({", ".join(PYTHONS[-1].split("."))})' in script
    tested = (ROOT / '.github' / 'workflows' / 'tests.yml').read_text()
    assert f'python: {list(PYTHONS)}' in tested
    assert f'\nPYTHONS = {PYTHONS}\n' in (ROOT / 'setup.py').read_text()
    settings = (ROOT / 'pyproject.toml').read_text()
    assert f"python_version = '{PYTHONS[0]}'" in settings
    assert f"target-version = 'py{PYTHONS[0].replace('.', '')}'" in settings


def test_no_index_or_machine_path_in_the_setup_files():
    files = [
        *REQUIREMENTS.glob('*.txt'),
        *(ROOT / name for name in ('setup.py', 'pyproject.toml', 'Makefile')),
        *(ROOT / 'tools' / name for name in ('setup_env.sh', 'wheelhouse.py')),
        ROOT / '.ci' / 'run',
    ]
    for file in files:
        text = file.read_text()
        assert not re.search(r'https?://|--(extra-)?index-url', text), file
        assert not re.search(r'/(root|work|home)/', text), file


def test_model_index_names_existing_files():
    index = (ROOT / 'model-index.yml').read_text()
    metafiles = re.findall(r'- (configs/\S+\.yml)', index)
    assert metafiles
    for metafile in metafiles:
        text = (ROOT / metafile).read_text()
        for config in re.findall(r'Config: (\S+)', text):
            assert (ROOT / config).is_file(), f'{metafile} names {config}'


def test_check_environment(monkeypatch):
    from fx_mm.utils import check_env
    from fx_mm.utils.errors import UserError

    check_env.check_environment()

    monkeypatch.setitem(check_env.OPENMMLAB, 'mmabsent', 'onedl-mmabsent')
    with pytest.raises(UserError, match='pip install onedl-mmabsent'):
        check_env.check_environment()
    monkeypatch.delitem(check_env.OPENMMLAB, 'mmabsent')

    real = check_env.importlib.import_module

    def without(name, error):
        def importer(module):
            if module == name:
                raise error
            return real(module)

        monkeypatch.setattr(check_env.importlib, 'import_module', importer)

    without('mmcv._ext', ModuleNotFoundError("No module named 'mmcv._ext'"))
    with pytest.raises(UserError, match='without its compiled operators'):
        check_env.check_environment()
    without('mmcv._ext', ImportError('undefined symbol: _ZN3c10'))
    with pytest.raises(UserError, match='against another torch'):
        check_env.check_environment()
    without('cv2', ImportError('libGL.so.1: cannot open shared object file'))
    with pytest.raises(UserError, match='apt-get install libgl1'):
        check_env.check_environment()


@pytest.mark.parametrize(
    ('transformers', 'kept'), [(None, True), ('4.57.1', True), ('5.17', False)]
)
def test_multimodal_models_that_cannot_be_imported(
    monkeypatch, transformers, kept
):
    """mmpretrain.models ends with a TypeError beside transformers 5."""
    from mmpretrain.utils import dependency

    from fx_mm.utils import check_env

    real = check_env.metadata.version

    def version(name):
        if name != 'transformers':
            return real(name)
        if transformers is None:
            raise check_env.metadata.PackageNotFoundError(name)
        return transformers

    monkeypatch.setattr(check_env.metadata, 'version', version)
    monkeypatch.setattr(dependency, 'WITH_MULTIMODAL', True)
    check_env.leave_out_multimodal()
    assert dependency.WITH_MULTIMODAL is kept


def test_collect_env():
    from fx_mm.utils.collect_env import collect_env

    rows = collect_env()
    assert rows['PyTorch'].startswith(str(pins(PYTHON)['torch']))
    wanted = str(pins(PYTHON)['onedl-mmdetection'])
    assert rows['onedl-mmdetection'] == wanted
    assert rows['mmcv operators'].startswith('compiled for CPU')
    assert 'cores' in rows['CPU']


@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy of it."""
    source = tmp_path_factory.mktemp('source') / 'fx_mm'
    skip = shutil.ignore_patterns(
        '.*', 'data', 'work_dirs', 'build', '*.egg-info', '__pycache__'
    )
    shutil.copytree(ROOT, source, ignore=skip)
    target = tmp_path_factory.mktemp('wheel')
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps']
        + ['--no-build-isolation', '-w', str(target), str(source)],
        check=True,
    )
    (file,) = target.glob('*.whl')
    return file


@pytest.mark.slow
def test_wheel_carries_configs_and_tools(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, suffixes in (
        ('fx_mm', ('.py', '.typed')),
        ('configs', ('.py', '.yml')),
        ('tools', ('.py', '.sh')),
    ):
        prefix = '' if folder == 'fx_mm' else 'fx_mm/.mim/'
        for file in (ROOT / folder).rglob('*'):
            if file.suffix in suffixes:
                assert prefix + str(file.relative_to(ROOT)) in names
    assert 'fx_mm/.mim/model-index.yml' in names
    assert not [name for name in names if name.startswith('tests')]
    for name in ('LICENSE', 'NOTICE'):
        assert [n for n in names if n.endswith(f'licenses/{name}')]


@pytest.mark.slow
def test_installed_wheel_works_from_another_folder(wheel, tmp_path):
    """mim takes the folder of RECORD's first path for the package."""
    site = tmp_path / 'site'
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps']
        + ['--target', str(site), str(wheel)],
        check=True,
    )
    (record,) = site.glob('onedl_fx_mm-*.dist-info/RECORD')
    with record.open() as file:
        first = next(csv.reader(file))[0]
    root = site / first.split('/')[0]
    assert root == site / 'fx_mm'
    assert (root / '.mim' / 'configs').is_dir()
    assert not list(site.glob('onedl_fx_mm-*.dist-info/entry_points.txt'))

    config = tmp_path / 'config.py'
    config.write_text("custom_imports = dict(imports=['fx_mm'])\n")
    code = (
        'import sys\n'
        'from mmengine.config import Config\n'
        'from mmengine.registry import MODELS\n'
        'Config.fromfile("config.py")\n'
        'print(sys.modules["fx_mm"].__file__)\n'
        'print(MODELS.get("fx_mm.FoundationX").__name__)\n'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(site)},
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[-2:] == [str(site / 'fx_mm' / '__init__.py'), 'FoundationX']
