"""The preparation tool, on phantoms in official layouts."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from fx_mm.phantom import write_raw
from fx_mm.preparation import RAW_DATASETS

TOOL = 'dataset_converters/prepare'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder of datasets with one raw dataset."""
    folder = tmp_path_factory.mktemp('data')
    write_raw('siim_acr', folder, 40, size=64)
    return folder


def test_prepare_and_check(run, data):
    arguments = ('siim_acr', '--data-root', data, '--check', '--workers', 1)
    code, out, _ = run(TOOL, *arguments)
    assert code == 0, out
    assert 'Pneumothorax' in out and 'WRONG' not in out
    assert 'Note: images: the official dataset has 12047, this one 40.' in out
    prepared = data / 'siim_acr/prepared'
    assert f'Look at {prepared}/siim_acr.check.png.' in out
    image = next(prepared.glob('images/**/*.png'))
    image.write_bytes(image.read_bytes()[:-20])
    code, out, _ = run(TOOL, *arguments)
    assert code == 1 and 'WRONG: images cannot be read: 1' in out
    code, out, _ = run(TOOL, *arguments, '--force')
    assert code == 0


def test_the_check_needs_no_raw_data(run, data, tmp_path):
    root = tmp_path / 'siim_acr'
    arguments = ('siim_acr', '--data-root', tmp_path, '--workers', 1)
    root.mkdir()
    code, _, err = run(TOOL, *arguments)
    assert code == 1 and err.startswith('error: ')
    shutil.copytree(data / 'siim_acr', root, dirs_exist_ok=True)
    assert run(TOOL, *arguments)[0] == 0
    for path in root.iterdir():
        if path.name != 'prepared':
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert run(TOOL, *arguments)[0] == 1
    code, out, _ = run(TOOL, *arguments, '--check')
    assert code == 0 and 'Only what is prepared already is checked.' in out


def test_list(run):
    code, out, _ = run(TOOL, '--list')
    assert code == 0
    lines = out.splitlines()
    assert lines == sorted(lines) and len(lines) == len(RAW_DATASETS)
    assert any(line.startswith('vindr_findings ') for line in lines)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('sim_acr',), 'is neither a config .* did you mean "siim_acr"?'),
        (
            ('siim_acr', '--split-from', 'a.txt'),
            'write SPLIT=FILE with one ',
        ),
        (('siim_acr', '--option', 'x=1'), 'has no option "x"'),
        (('siim_acr', '--workers', 0), 'workers is 0; it must be a whole'),
        (('configs/ark/ark6_swin-b_200c.py',), 'prepare them one by one'),
    ],
)
def test_mistakes_are_one_sentence(run, data, arguments, message):
    code, _, err = run(TOOL, *arguments, '--data-root', data)
    assert code == 1
    assert re.search(message, err), err
    assert err.startswith('error: ') and err.count('\n') == 1


CONFIG = """
my_dataset = dict(
    data_root='data/my_dataset/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=('Nodule', 'Effusion'),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
custom_imports = dict(imports=['my_dataset'], allow_failed_imports=False)
"""


def test_the_documented_reader_is_found_by_its_config(
    run, tmp_path, monkeypatch
):
    """docs/datasets.md shows a module that lies outside of the package."""
    docs = Path(__file__).parents[2] / 'docs/datasets.md'
    section = docs.read_text().split('## Add your own')[1]
    (module,) = re.findall('```python\n(.*?)```', section, re.S)
    (tmp_path / 'my_dataset.py').write_text(module)
    config = tmp_path / 'config.py'
    config.write_text(CONFIG)
    images = tmp_path / 'data/my_dataset/images'
    images.mkdir(parents=True)
    rows = ['file,patient,Nodule,Effusion']
    for number in range(30):
        Image.new('L', (40, 30), number).save(images / f'{number}.png')
        rows.append(f'{number}.png,p{number},{number % 2},')
    (images.parent / 'labels.csv').write_text('\n'.join(rows))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        code, out, err = run(
            TOOL, config, '--data-root', tmp_path / 'data', '--check'
        )
        assert code == 0, err
        assert 'images: the official dataset has 1200, this one 30' in out
    finally:
        RAW_DATASETS.pop('my_dataset', None)
        sys.modules.pop('my_dataset', None)
    written = (images.parent / 'prepared/train.csv').read_text()
    assert written.startswith('image,patient,Nodule,Effusion\n')
