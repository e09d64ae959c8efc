"""What a config may say: its keys, its sections, the types of its values."""

import functools
import inspect
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config

from fx_mm.config.plain import PlainConfig
from fx_mm.utils.checks import (
    check_arguments,
    check_keys,
    check_number,
    keywords,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_call, check_parts, check_value

OWN_KEYS = (
    'datasets',
    'tasks',
    'task_defaults',
    'cycle',
    'loader',
    'cache',
    'audit',
    'phantom',
    'report',
    'custom_imports',
    'runner_type',
    'env_cfg',
    'compile',
    # read by mmengine from the config, not from the Runner's arguments
    'find_unused_parameters',
    'model_wrapper_cfg',
    'sync_bn',
)
SECTION = dict[str, Any] | None
SECTION_TYPES: dict[str, Any] = dict(
    **dict.fromkeys(
        (
            *('cycle', 'loader', 'audit', 'phantom', 'custom_imports'),
            *('env_cfg', 'model', 'visualizer', 'optim_wrapper'),
            *('train_cfg', 'val_cfg', 'test_cfg', 'default_hooks'),
            *('randomness', 'auto_scale_lr'),
        ),
        SECTION,
    ),
    custom_hooks=Sequence[dict[str, Any]] | None,
    param_scheduler=Sequence[dict[str, Any]] | SECTION,
    report=str | None,
    load_from=str | None,
    work_dir=str | None,
)
"""What the sections of a config are; what they hold is checked apart, and
``datasets``, ``tasks`` and ``task_defaults`` by their ``TaskTable``."""
ENV_KEYS = ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')
DEFAULT_HOOKS = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
    'progress',
)


@functools.cache
def known_keys() -> frozenset[str]:
    """Return the Runner's arguments and fx_mm's own keys."""
    from mmengine.runner import Runner

    arguments = inspect.signature(Runner.__init__).parameters
    return frozenset({*arguments, *OWN_KEYS} - {'self'})


def check_top_level(cfg: Config) -> dict[str, Any]:
    """Refuse a top-level key that nothing reads.

    Allowed are the Runner's arguments, fx_mm's own keys, names of datasets
    that came with a base file, and helpers: what the text of the config uses
    elsewhere, and modules, classes and functions.

    Returns:
        dict: The config without its helpers.

    Raises:
        UserError: Names the key and the likely one.
    """
    kept = {}
    known = known_keys()
    text = re.sub(r'#.*', '', cfg.text)
    for key, value in cfg.to_dict().items():
        is_base = isinstance(value, dict) and isinstance(
            value.get('tasks'), dict
        )
        if key in SECTION_TYPES:
            check_value(key, value, SECTION_TYPES[key])
        if key in known or is_base:
            kept[key] = value
        elif not (
            callable(value) or inspect.ismodule(value) or _is_read(key, text)
        ):
            check_keys([key], known, 'the config')
    return kept


def _is_read(name: str, text: str) -> bool:
    """Return whether a config uses the variable of a name.

    A config with ``read_base`` has no text of its bases, whose helpers are
    told from typing errors by their looks.
    """
    used = rf'(?<![\w.\'"]){name}(?!\w)(?!\s*=(?!=))|_base_\.{name}\b'
    if re.search(used, text):
        return True
    lazy = 'read_base' in text
    return lazy and not get_close_matches(name, known_keys())


def check_types(cfg: PlainConfig) -> None:
    """Refuse values of a type that no part of ours takes.

    Raises:
        UserError: Says where, what and what would be right.
    """
    # pipelines of entries have names for sizes, which tasks put in
    for key in known_keys() - {'datasets', 'task_defaults'}:
        check_parts(cfg.get(key), key)
    for task in cfg.task_table:
        where = f'task {task.name}'
        check_parts(task.config['reader'], f'{where}, reader')
        check_parts(task.metric_cfg(), f'{where}, metric')
        for which in ('train', 'test'):
            pipeline = task.pipeline(which)
            check_parts(pipeline, f'{where}, {which}_pipeline')


def check_sections(cfg: Config) -> None:
    """Refuse unknown keys where mmengine would read past them, or crash.

    All other sections are built from a registry, whose errors name the key.

    Raises:
        UserError: Names the key and the likely one.
    """
    from mmengine.dist import init_dist
    from mmengine.runner import set_random_seed
    from mmengine.utils import import_modules_from_strings
    from mmengine.utils.dl_utils import set_multi_processing
    from torch.distributed import init_process_group

    env = cfg.get('env_cfg') or {}
    check_keys(env, ENV_KEYS, 'env_cfg')
    processes = env.get('mp_cfg') or {}
    check_arguments(processes, set_multi_processing, 'env_cfg.mp_cfg')
    group = {*keywords(init_process_group), *keywords(init_dist), 'port'}
    check_keys(env.get('dist_cfg') or {}, group, 'env_cfg.dist_cfg')
    seeds = cfg.get('randomness') or {}
    check_call('randomness', set_random_seed, seeds)
    if seeds.get('seed') is not None:
        check_number(
            'randomness.seed', seeds['seed'], 0, 2**32 - 1, whole=True
        )
    scaling = cfg.get('auto_scale_lr') or {}
    check_keys(scaling, ('enable', 'base_batch_size'), 'auto_scale_lr')
    imports = cfg.get('custom_imports') or {}
    check_arguments(imports, import_modules_from_strings, 'custom_imports')
    # further hooks may have any name, but none that is nearly one of these
    for name in cfg.get('default_hooks') or {}:
        if get_close_matches(name, DEFAULT_HOOKS):
            check_keys([name], DEFAULT_HOOKS, 'default_hooks')
    for section in ('train_cfg', 'val_cfg', 'test_cfg'):
        if cfg.get(section) is not None and 'type' not in cfg[section]:
            raise UserError(
                f'{section} has no "type"; take a schedule of '
                'configs/_base_/schedules/ as a base, or see docs/configs.md.'
            )
