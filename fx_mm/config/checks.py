"""What a config may say: its keys, its sections, the types of its values."""

import functools
import inspect
import multiprocessing
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal

from mmengine.config import Config

from fx_mm.config.plain import PlainConfig
from fx_mm.utils.checks import (
    check_arguments,
    check_choice,
    check_keys,
    check_number,
    keywords,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import (
    check_call,
    check_entry,
    check_parts,
    check_value,
)

OWN_KEYS = (
    'datasets',
    'tasks',
    'task_defaults',
    'continual',
    'federated',
    'cycle',
    'loader',
    'cache',
    'audit',
    'phantom',
    'report',
    'save_predictions',
    'dicom_codes',
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
            *('continual', 'federated'),
            *('env_cfg', 'model', 'visualizer', 'optim_wrapper'),
            *('train_cfg', 'val_cfg', 'test_cfg', 'default_hooks'),
            *('randomness', 'auto_scale_lr', 'log_processor'),
            *('data_preprocessor', 'model_wrapper_cfg', 'dicom_codes'),
        ),
        SECTION,
    ),
    compile=bool | SECTION,
    custom_hooks=Sequence[dict[str, Any]] | None,
    default_scope=str | None,
    experiment_name=str | None,
    find_unused_parameters=bool | None,
    launcher=Literal['none', 'pytorch', 'slurm', 'mpi'],
    log_level=Literal['DEBUG', 'INFO', 'WARN', 'WARNING', 'ERROR', 'CRITICAL']
    | int,
    param_scheduler=Sequence[dict[str, Any]] | SECTION,
    report=str | None,
    load_from=str | None,
    resume=bool,
    save_predictions=bool,
    sync_bn=str | None,
    work_dir=str | None,
)
"""What the sections of a config are; what they hold is checked apart, and
``datasets``, ``tasks`` and ``task_defaults`` by their ``TaskTable``."""
ENV_TYPES = dict(
    cudnn_benchmark=bool | None,
    tf32=bool | None,
    mp_cfg=dict,
    dist_cfg=dict | None,
    resource_limit=int,
)
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
def _runner_arguments() -> dict[str, inspect.Parameter]:
    from mmengine.runner import Runner

    return keywords(Runner)


@functools.cache
def known_keys() -> frozenset[str]:
    """Return the Runner's arguments and fx_mm's own keys."""
    return frozenset({*_runner_arguments(), *OWN_KEYS})


def check_top_level(cfg: Config) -> dict[str, Any]:
    """Refuse a top-level key that nothing reads.

    Allowed are the Runner's arguments, fx_mm's own keys, names of datasets
    that came with a base file, and helpers: what the text of the config uses
    elsewhere, and modules, classes and functions. An argument of the Runner
    that is None counts as left out.

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
        argument = _runner_arguments().get(key)
        if value is None and argument and argument.default is not None:
            continue
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
    for task in cfg.task_table.in_cycle():
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
    check_entry('env_cfg', env, ENV_TYPES)
    processes = env.get('mp_cfg', {})
    check_call('env_cfg.mp_cfg', set_multi_processing, processes)
    check_choice(
        'env_cfg.mp_cfg.mp_start_method',
        processes.get('mp_start_method', 'fork'),
        multiprocessing.get_all_start_methods(),
    )
    group = {*keywords(init_process_group), *keywords(init_dist), 'port'}
    check_keys(env.get('dist_cfg') or {}, group, 'env_cfg.dist_cfg')
    seeds = cfg.get('randomness') or {}
    check_call('randomness', set_random_seed, seeds)
    if seeds.get('seed') is not None:
        check_number(
            'randomness.seed', seeds['seed'], 0, 2**32 - 1, whole=True
        )
    scaling = cfg.get('auto_scale_lr') or {}
    check_entry(
        'auto_scale_lr', scaling, dict(enable=bool, base_batch_size=int)
    )
    imports = cfg.get('custom_imports') or {}
    check_arguments(imports, import_modules_from_strings, 'custom_imports')
    # further hooks may have any name, but none that is nearly one of these
    for name, hook in (cfg.get('default_hooks') or {}).items():
        if get_close_matches(name, DEFAULT_HOOKS):
            check_keys([name], DEFAULT_HOOKS, 'default_hooks')
        check_value(f'default_hooks.{name}', hook, SECTION)
    for section in ('train_cfg', 'val_cfg', 'test_cfg'):
        if cfg.get(section) is not None and 'type' not in cfg[section]:
            raise UserError(
                f'{section} has no "type"; take a schedule of '
                'configs/_base_/schedules/ as a base, or see docs/configs.md.'
            )
