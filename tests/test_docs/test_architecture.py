"""The picture of the architecture shows what is there."""

import importlib.util
import re
from pathlib import Path

import pytest
from test_layers import LAYERS

ROOT = Path(__file__).parents[2]
FILE = ROOT / 'docs' / 'images' / 'architecture.py'
# what only a wheel has begins with a dot
NAME = r'`((?:fx_mm|configs|tools)/(?!\.)[\w/.]+)`'


@pytest.fixture(scope='module')
def picture():
    spec = importlib.util.spec_from_file_location('architecture', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_picture_is_the_drawn_one(picture):
    assert FILE.with_suffix('.svg').read_text() == picture.draw()


def test_layers_are_the_tested_ones(picture):
    drawn = [set(names.split()) for names, *_ in picture.LAYERS]
    assert drawn == [set(layer) - {'version'} for layer in LAYERS]


def test_ways_name_what_is_there(picture):
    code = '\n'.join(
        path.read_text() for path in (ROOT / 'fx_mm').rglob('*.py')
    )
    for name, *_ in (*picture.BATCH, *picture.PREDICTION):
        if re.match('[A-Z]', name):
            for part in name.split('.'):
                assert re.search(rf'(class|def) {part}\b', code), part


def test_every_file_of_the_pages_is_there():
    for page in ('CONTRIBUTING.md', 'docs/architecture.md'):
        text = (ROOT / page).read_text()
        for name in re.findall(NAME, text):
            assert (ROOT / name).exists(), f'{page} names {name}'
        for link in re.findall(r'\]\((?!http)([\w/.]+)', text):
            assert (ROOT / page).parent.joinpath(link).exists(), link
