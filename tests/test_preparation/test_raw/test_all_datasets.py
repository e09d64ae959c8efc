"""What holds for every raw dataset, its config and its phantom layout."""

from pathlib import Path

import pytest
from mmengine.config import Config
from raw_helpers import read

from fx_mm.phantom import RAW_LAYOUTS
from fx_mm.preparation import RAW_DATASETS, find_raw
from fx_mm.preparation.raw.nih14 import BOXED_CLASSES, CLASSES
from fx_mm.preparation.raw.vindr_findings import KAGGLE
from fx_mm.utils.errors import UserError

REPO = Path(__file__).parents[3]
CONFIGS = REPO / 'configs/_base_/datasets'
READERS = REPO / 'fx_mm/preparation/raw'
DATASETS = sorted(RAW_DATASETS)


def stems(folder):
    return {path.stem for path in folder.glob('[!_]*.py')}


def test_names_are_those_of_files_configs_and_layouts():
    configs = {
        name
        for name in stems(CONFIGS)
        if not name.startswith(('phantom_', 'real_'))
    }
    assert stems(READERS) == set(DATASETS) == configs == set(RAW_LAYOUTS)
    with pytest.raises(UserError, match='Unknown raw dataset "mnist"; known'):
        find_raw('mnist')


@pytest.mark.parametrize('name', DATASETS)
def test_what_is_known_of_it(name):
    raw = find_raw(name)
    assert raw.read.__doc__ and raw.holds
    # a split that is not official must come from somewhere
    ratios = raw.split_ratios or dict(train=1 - raw.val_ratio)
    assert 0 < ratios['train'] <= 1
    official = {'images', 'train', 'val', 'test', *raw.classes}
    assert set(raw.official_counts) <= official


@pytest.mark.parametrize('name', DATASETS)
def test_configs_ask_for_its_classes_in_their_order(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')[name]
    for task in config.tasks.values():
        wanted = [c for c in find_raw(name).classes if c in task.classes]
        assert list(task.classes) == wanted


def test_classes_of_some_tasks_alone():
    tasks = Config.fromfile(CONFIGS / 'nih14.py').nih14.tasks
    assert tuple(tasks['loc'].classes) == BOXED_CLASSES
    tasks = Config.fromfile(CONFIGS / 'vindr_findings.py').vindr_findings.tasks
    assert tuple(tasks['loc'].classes) == KAGGLE
    tasks = Config.fromfile(CONFIGS / 'real_nih.py').real_nih.tasks
    assert tuple(tasks['cls'].classes) == CLASSES


@pytest.mark.parametrize('name', DATASETS)
def test_a_wrong_folder_is_told_what_it_should_hold(name, tmp_path):
    with pytest.raises(UserError) as error:
        read(name, tmp_path)
    assert f'{tmp_path}: has no ' in str(error.value)
    assert '; is it the right folder? It holds ' in str(error.value)
    with pytest.raises(UserError, match='there is no such folder; it holds'):
        read(name, tmp_path / 'none')
