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


BASE = f"_base_ = '{CONFIG}'\n"


def write(tmp_path, text, name='config.py'):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_helpers_of_a_config_are_no_keys(tmp_path):
    """As mmengine's configs may have them; a dump has none."""
    text = BASE + (
        'import math\n'
        'from math import sqrt\n'
        'max_epochs = 3  # no key\n'
        'img_scale = (64, 64)\n'
        'def twice(x):\n'
        '    return 2 * x\n'
        'class Late:\n'
        '    pass\n'
        'for stage in ("val", "test"):\n'
        '    pass\n'
        'train_cfg = dict(max_cycles=twice(max_epochs))\n'
        'task_defaults = dict(cls=dict(img_size=img_scale[0]))\n'
        'loader = dict(num_workers=int(sqrt(math.floor(4.2))))\n'
        'if stage == "test":\n'
        '    report = stage\n'
    )
    cfg = expand_config(load_config(write(tmp_path, text)))
    assert cfg.train_cfg.max_cycles == 6
    assert cfg.train_dataloader.num_workers == 2
    assert cfg.report == 'test'
    cfg.dump(str(tmp_path / 'dumped.py'))
    again = expand_config(load_config(str(tmp_path / 'dumped.py')))
    assert again.to_dict() == cfg.to_dict()
    assert not {'max_epochs', 'sqrt', 'Late', 'stage'} & set(cfg)


def test_a_helper_of_a_base(tmp_path):
    write(tmp_path, BASE + 'length = 7\n', 'base.py')
    text = (
        "_base_ = './base.py'\ntrain_cfg = dict(max_cycles={{_base_.length}})"
    )
    cfg = expand_config(load_config(write(tmp_path, text)))
    assert cfg.train_cfg.max_cycles == 7 and 'length' not in cfg


def test_a_lazy_config(tmp_path):
    write(tmp_path, 'length = 7\nreport = "test"\n', 'lazy_base.py')
    dumped = write(tmp_path, '', 'whole.py')
    load_config(CONFIG).dump(dumped)
    text = (
        'import math\n'
        'from mmengine.config import read_base\n'
        'from fx_mm.engine.schedulers import CycleCosineLR\n'
        'with read_base():\n'
        '    from .lazy_base import *\n'
        '    from .whole import *\n'
        'def half(x):\n'
        '    return x // 2\n'
        'train_cfg.update(max_cycles=half(math.floor(length)))\n'
        'param_scheduler = [dict(type=CycleCosineLR, warmup_cycles=1)]\n'
    )
    cfg = expand_config(load_config(write(tmp_path, text)))
    assert cfg.train_cfg.max_cycles == 3
    assert cfg.param_scheduler[0].passes_per_cycle == 9
    assert not {'math', 'half', 'length', 'CycleCosineLR'} & set(cfg)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('learning_rate = 1e-3', 'Unknown key "learning_rate"'),
        ('learning_rate = 1  # learning_rate', 'Unknown key "learning_rate"'),
        ('n = dict(n=1)', 'Unknown key "n"'),
        ('trian_cfg = dict()', 'did you mean "train_cfg"'),
    ],
)
def test_what_nothing_reads_is_refused(tmp_path, line, message):
    with pytest.raises(UserError, match=message):
        expand_config(load_config(write(tmp_path, f'{BASE}{line}\n')))


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('phantom_c.data_root', 'write datasets.phantom_c.data_root'),
        ('length', '"length" is a helper of the config'),
    ],
)
def test_an_option_without_effect_is_refused(tmp_path, option, message):
    text = BASE + 'length = 2\ntrain_cfg = dict(max_cycles=length)\n'
    with pytest.raises(UserError, match=message):
        load_config(write(tmp_path, text), {option: 3})


@pytest.mark.parametrize(
    'content',
    [b'\xef\xbb\xbftasks = []\n', 'tasks = []\n'.encode('utf-16')],
)
def test_the_file_of_another_encoding_is_named(tmp_path, content):
    base = write(tmp_path, content, 'base.py')
    for path in (base, write(tmp_path, "_base_ = './base.py'\n")):
        with pytest.raises(UserError) as caught:
            load_config(path)
        assert str(caught.value) == (
            f'Config "{base}" is not UTF-8 text without a byte order mark; '
            'save it as UTF-8 without BOM.'
        )


def test_errors_of_a_config_name_the_file(tmp_path):
    base = write(tmp_path, 'a = 1\nassert a == 2\n', 'base.py')
    with pytest.raises(UserError, match='base.py" cannot be read: Assertion'):
        load_config(write(tmp_path, f"_base_ = '{base}'\n"))


def test_a_list_is_no_work_dir():
    with pytest.raises(UserError, match='needs quotes'):
        load_config(CONFIG, dict(work_dir=['a', ' b']))


def test_no_workers_prefetch_nothing():
    options = {'loader.prefetch_factor': 4, 'loader.persistent_workers': True}
    loader = expanded(**options).train_dataloader
    assert (loader.prefetch_factor, loader.persistent_workers) == (4, True)
    loader = expanded(**options, **{'loader.num_workers': 0}).train_dataloader
    assert not {'prefetch_factor', 'persistent_workers'} & set(loader)


def test_a_config_that_a_run_wrote_is_expanded_again(tmp_path):
    """The loaders of a training, its schedule and its metrics."""
    cfg = expanded(**{'loader.num_workers': 1})
    cfg.dump(str(tmp_path / 'dumped.py'))
    again = expand_config(load_config(str(tmp_path / 'dumped.py')))
    again.pop('work_dir')
    assert again.to_dict() == {
        k: v for k, v in cfg.to_dict().items() if k != 'work_dir'
    }


@pytest.mark.parametrize(
    'options, message',
    [
        (
            {'randomness.seed': 'x'},
            "randomness.seed is 'x'; it must be a whole",
        ),
        ({'randomness.seed': -1}, 'randomness.seed is -1; it must be a whole'),
        ({'param_scheduler': True}, 'param_scheduler is True; it must be'),
        ({'tasks': [['phantom_a/cls']]}, 'tasks is .*; it must be a list'),
        (
            {'datasets.phantom_a.tasks.cls.reader.type': ''},
            'datasets.phantom_a.tasks.cls.reader has no "type"; add the name',
        ),
        ({'env_cfg': 'x'}, "env_cfg is 'x'; it must be a dict"),
        (
            {'env_cfg.mp_cfg': None},
            'env_cfg.mp_cfg is None; it must be a d',
        ),
        ({'env_cfg.mp_cfg': [[]]}, 'env_cfg.mp_cfg is .*; it must be a dict'),
        (
            {'env_cfg.mp_cfg.mp_start_method': True},
            'mp_start_method is True; it must be a text',
        ),
        (
            {'env_cfg.mp_cfg.mp_start_method': 'x'},
            "mp_start_method is 'x'; use one of .*fork",
        ),
        ({'env_cfg.dist_cfg': 1}, 'env_cfg.dist_cfg is 1; it must be a dict'),
        ({'env_cfg.resource_limit': 'x'}, 'resource_limit is .* whole number'),
        ({'auto_scale_lr.enable': 1}, 'auto_scale_lr.enable is 1; .* True or'),
        (
            {'default_hooks.timer': True},
            'default_hooks.timer is True; .* di',
        ),
        ({'default_scope': 1.5}, 'default_scope is 1.5; it must be a text'),
        ({'launcher': 'x'}, "launcher is 'x'; it must be one of .none"),
        ({'log_level': 'x'}, "log_level is 'x'; it must be one of .DEBUG"),
        ({'log_processor': 1}, 'log_processor is 1; it must be a dict'),
        ({'resume': 'x'}, "resume is 'x'; it must be True or False"),
        (
            {'optim_wrapper.accumulative_counts': None},
            'optim_wrapper.accumulative_counts is None; it must be a whole',
        ),
        (
            {'task_defaults.cls.train_pipeline': None},
            'task phantom_a/cls has no "train_pipeline"',
        ),
    ],
)
def test_sections_of_another_type(options, message):
    with pytest.raises(UserError, match=message):
        expanded(**options)


def test_no_folder_of_images_is_the_data_root():
    cfg = expanded(**{'datasets.phantom_a.img_dir': None})
    task = cfg.task_table['phantom_a/cls']
    assert task.image_folder == task.data_root


def test_what_the_runner_needs_may_be_none():
    """As in a config that takes back what its base says."""
    keys = ('env_cfg', 'randomness', 'log_level', 'resume', 'launcher')
    cfg = expanded(**dict.fromkeys(keys))
    assert cfg.randomness == dict(seed=None)
    assert not {*keys} - {'randomness'} & {*cfg}
    randomness = dict(_delete_=True, deterministic=True)
    cfg = expanded(randomness=randomness)
    assert cfg.randomness == dict(deterministic=True, seed=None)
