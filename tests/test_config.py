from pathlib import Path

import pytest

from fx_mm.apis import expand_config, load_config
from fx_mm.utils.errors import UserError

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / 'configs/phantom/foundation-x_tiny_phantom.py')


def expanded(**options):
    return expand_config(load_config(CONFIG, options))


def arguments(cfg, which):
    """The cache's arguments of each task's loading steps."""
    return [
        [
            (step['type'], step.get('cache_dir'), step.get('cache_size'))
            for step in task.pipeline(which)
            if step['type'].startswith('Load')
        ]
        for task in cfg.task_table
    ]


def test_off_by_default():
    for which in ('train', 'test'):
        for steps in arguments(expanded(), which):
            assert {step[1:] for step in steps} == {(None, None)}


def test_training_only_with_each_tasks_size():
    cfg = expanded(
        **{'cache.dir': 'data/cache', 'task_defaults.loc.img_size': 224}
    )
    sides = [258 if name.endswith('loc') else 147 for name in cfg.tasks]
    assert arguments(cfg, 'train') == [
        [
            ('LoadXray', 'data/cache', side),
            ('LoadXrayAnnotations', 'data/cache', side),
        ]
        for side in sides
    ]
    for steps in arguments(cfg, 'test'):
        assert {step[1:] for step in steps} == {(None, None)}


def test_factor_and_own_arguments():
    own = [
        dict(type='fx_mm.LoadXray', cache_dir='mine', cache_size=99),
        dict(type='PackXray'),
    ]
    cfg = expanded(
        **{
            'cache.dir': 'c',
            'cache.factor': 2,
            'task_defaults.seg.train_pipeline': own,
        }
    )
    steps = arguments(cfg, 'train')
    assert steps[0][0] == ('LoadXray', 'c', 256)
    assert list(cfg.task_table)[-1].pipeline('train')[0] == own[0]


def test_data_root_moves_the_cache(tmp_path):
    cfg = load_config(CONFIG, {'cache.dir': 'data/cache'}, str(tmp_path))
    steps = arguments(expand_config(cfg), 'train')
    assert steps[0][0][1] == str(tmp_path / 'cache')


@pytest.mark.parametrize(
    'cache, message',
    [
        (True, 'cache is True, which names no "dir"'),
        (dict(factor=2), 'names no "dir"; write the folder'),
        (dict(dir='c', size=3), 'Unknown key "size" in cache'),
        (dict(dir='c', factor=0.5), 'cache.factor is 0.5; .*at least 1'),
    ],
)
def test_wrong_cache_is_refused(cache, message):
    cfg = load_config(CONFIG)
    cfg.cache = cache
    with pytest.raises(UserError, match=message):
        expand_config(cfg)
