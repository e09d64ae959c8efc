"""A phantom run that takes seconds, from the shipped demo config."""

import itertools
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from fx_mm.apis import build_runner, load_config

CONFIG = 'configs/phantom/foundation-x_tiny_phantom.py'
REPO = Path(__file__).parents[2]
_names = itertools.count()


@pytest.fixture(scope='session')
def phantom_root(tmp_path_factory):
    """Phantoms of 64 px: 12 to train, 4 to validate and test a hospital."""
    return str(tmp_path_factory.mktemp('phantom'))


@pytest.fixture
def make_cfg(phantom_root, tmp_path):
    """Give the demo config, cut to seconds, with further options."""

    def make(**options):
        cfg = load_config(str(REPO / CONFIG))
        cfg.work_dir = str(tmp_path / 'work')
        cfg.experiment_name = f'test_{next(_names)}'
        cfg.phantom.update(
            root=phantom_root,
            size=64,
            counts=dict(train=12, val=4, test=4),
        )
        for name, dataset in cfg.datasets.items():
            hospital = name.replace('phantom', 'hospital')
            dataset.data_root = f'{phantom_root}/easy/{hospital}/'
        for entry in cfg.task_defaults.values():
            entry.update(img_size=64, batch_size=4)
        cfg.merge_from_dict(
            {
                'loader.num_workers': 0,
                'cycle.max_batches': None,
                'train_cfg.max_cycles': 2,
                'train_cfg.val_interval': 1,
                'log_level': 'WARNING',
                **options,
            }
        )
        return cfg

    return make


@pytest.fixture
def make_runner(make_cfg):
    """Give a built Runner."""

    def make(resume=False, **options):
        return build_runner(make_cfg(**options), resume=resume)

    yield make
    # Other tests must not find this run's scope.
    DefaultScope._instance_dict.clear()
