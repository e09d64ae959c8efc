"""From an experiment's config to the stock Runner's.

Who only loads a config, as preparing does, needs no torch: what imports it is
imported where it is used.
"""

import functools
import inspect
import os.path as osp
import re
from difflib import get_close_matches
from pathlib import Path
from pprint import pformat
from typing import Any

from mmengine.config import Config

from fx_mm.tasks import TaskTable
from fx_mm.utils.checks import (
    check_arguments,
    check_keys,
    check_number,
    keywords,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_parts

CYCLE_KEYS = ('order', 'lock', 'lock_data_ratio', 'max_batches', 'min_batches')
LOADER_KEYS = (
    'num_workers',
    'persistent_workers',
    'prefetch_factor',
    'pin_memory',
)
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
READING = ('_file2dict', '_is_lazy_import', '_parse_lazy_import')
"""What reads a config's file in mmengine."""


@functools.cache
def _known_keys() -> frozenset[str]:
    """Return the Runner's arguments and fx_mm's own keys."""
    from mmengine.runner import Runner

    arguments = inspect.signature(Runner.__init__).parameters
    return frozenset({*arguments, *OWN_KEYS} - {'self'})


class PlainConfig(Config):
    """A config whose text costs milliseconds, with its tasks.

    mmengine formats it with yapf, which takes seconds for an expanded config,
    and asks for it at every checkpoint.
    """

    @property
    def task_table(self) -> TaskTable:
        """TaskTable: The active tasks, read once; copies share it."""
        table = self.__dict__.get('_task_table')
        if table is None:
            table = TaskTable.from_cfg(self)
            self.__dict__['_task_table'] = table
        return table

    @property
    def pretty_text(self) -> str:
        """str: The config as Python, one assignment a key."""
        return ''.join(
            f'{key} = {pformat(value, width=79, sort_dicts=False)}\n'
            for key, value in self.to_dict().items()
        )


def load_config(
    path: str,
    options: dict[str, Any] | None = None,
    data_root: str | None = None,
) -> Config:
    """Read a config file and merge ``--cfg-options`` into it.

    Args:
        path (str): The config file.
        options (dict, optional): Nested key to value. Defaults to None.
        data_root (str, optional): Folder that takes the place of ``data/``
            in the paths of all datasets. Defaults to None.

    Raises:
        UserError: If the file is missing or cannot be read, or an option
            changes what the config has already used.
    """
    if not osp.isfile(path):
        raise UserError(f'Config "{path}" does not exist.')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        # A config is a program: anything can go wrong in it.
        file = _failed_file(error) or path
        if isinstance(error, UnicodeDecodeError) or 'U+FEFF' in str(error):
            raise UserError(
                f'Config "{file}" is not UTF-8 text without a byte order '
                'mark; save it as UTF-8 without BOM.'
            ) from error
        raise UserError(
            f'Config "{file}" cannot be read: {_last_line(error)}'
        ) from error
    for key in options or {}:
        _check_option(cfg, key)
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:
        raise UserError(
            f'--cfg-options do not fit config "{path}": {_last_line(error)}'
        ) from error
    if not isinstance(cfg.get('work_dir', ''), str | None):
        raise UserError(
            f'work_dir is {cfg.work_dir!r}; it must be the name of a folder '
            '(one with a comma needs quotes: --cfg-options '
            '"work_dir=\'a, b\'").'
        )
    if data_root is not None:
        _move_data(cfg, data_root)
    if not cfg.get('work_dir'):
        name = osp.splitext(osp.basename(path))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    return cfg


def _last_line(error: Exception) -> str:
    lines = str(error).splitlines() or ['without a word']
    return f'{type(error).__name__}: {lines[-1]}'


def _failed_file(error: Exception) -> str | None:
    """Return the config or base that mmengine was reading."""
    file, traceback = None, error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name in READING:
            file = osp.normpath(frame.f_locals['filename'])
        traceback = traceback.tb_next
    return file


def _check_option(cfg: Config, option: str) -> None:
    """Refuse an option that changes what has no effect any more.

    Bases and helper variables were used when the file was read.

    Raises:
        UserError: Says what to change instead.
    """
    key, _, rest = option.partition('.')
    if key not in cfg or key in _known_keys():
        return
    if key in (cfg.get('datasets') or {}):
        raise UserError(
            f'--cfg-options {option} has no effect: the experiment has its '
            f'own copy of the dataset; write datasets.{option}.'
        )
    raise UserError(
        f'--cfg-options {option} has no effect: "{key}" is a helper of the '
        'config, used when the file was read; change the keys that it is '
        'used in.'
    )


def _move_data(cfg: Config, root: str) -> None:
    """Put what lies in ``data/`` below another folder.

    Raises:
        UserError: If the folder does not exist.
    """
    root = osp.expanduser(root)
    if not osp.isdir(root):
        raise UserError(
            f'--data-root is "{root}", which is no folder; it takes the '
            'place of data/.'
        )
    datasets = [*cfg.values(), *(cfg.get('datasets') or {}).values()]
    # by identity: a base's dict may be the very one that "datasets" holds
    unique = {id(d): d for d in datasets if isinstance(d, dict)}
    entries = [(d, 'data_root') for d in unique.values()]
    entries += [
        (cfg[key], name)
        for key, name in (('phantom', 'root'), ('cache', 'dir'))
        if cfg.get(key)
    ]
    for entry, key in entries:
        parts = Path(str(entry.get(key) or '')).parts
        if parts[:1] == ('data',):
            entry[key] = osp.join(root, *parts[1:])


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
    known = _known_keys()
    text = re.sub(r'#.*', '', cfg.text)
    for key, value in cfg.to_dict().items():
        is_base = isinstance(value, dict) and isinstance(
            value.get('tasks'), dict
        )
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
    return lazy and not get_close_matches(name, _known_keys())


def expand_config(cfg: Config, synthetic: bool = False) -> PlainConfig:
    """Turn ``datasets`` and ``tasks`` into the Runner's keys.

    ``MultiTaskRunner.from_cfg`` calls it, so after ``--cfg-options``. Fills
    the dataloaders, the evaluators and what the schedule needs to know of the
    cycle; keys that a config sets itself are overwritten.

    Args:
        cfg (Config): The experiment's config; it is not changed.
        synthetic (bool): Train on made-up samples. Defaults to False.

    Returns:
        PlainConfig: For ``Runner.from_cfg``.

    Raises:
        UserError: If a key or task is unknown or incomplete.
    """
    from fx_mm.datasets.samplers.pass_schedule import plan_cycle

    kept = check_top_level(cfg)
    if cfg.get('model') is None:
        raise UserError('The config has no "model".')
    out = PlainConfig(kept, filename=cfg.filename)
    table = out.task_table
    _check_sections(out)
    cycle = dict(out.get('cycle') or {})
    check_keys(cycle, CYCLE_KEYS, 'cycle')
    passes = plan_cycle(
        table, cycle.get('lock', 'paper'), cycle.get('order', 'cyclic')
    )
    loader = dict(out.get('loader') or {})
    check_keys(loader, LOADER_KEYS, 'loader')
    # A batch runs one branch and one head.
    out.setdefault('find_unused_parameters', True)
    if 'student' not in out.model:
        raise UserError(
            f'model.type is "{out.model.get("type")}"; wrap it: '
            'model = dict(type="MeanTeacher", student=...), with '
            'consistency_weight=0 to train without a teacher.'
        )
    _expand_loaders(out, cycle, loader, synthetic)
    _expand_amp(out.get('optim_wrapper') or {})
    schedulers = out.get('param_scheduler') or []
    if isinstance(schedulers, dict):
        schedulers = out.param_scheduler = [schedulers]
    for scheduler in schedulers:
        if scheduler.get('type') is None:
            raise UserError(
                f'param_scheduler {dict(scheduler)} has no "type".'
            )
        if scheduler.get('convert_to_iter_based'):
            raise UserError(
                'param_scheduler.convert_to_iter_based counts on epochs of '
                'equal length, but passes differ; give lengths in '
                'iterations (by_epoch=False) or take CycleCosineLR.'
            )
        if 'Cycle' in scheduler['type']:
            scheduler.setdefault('passes_per_cycle', len(passes))
            # where it is missing, the loop says so
            length = (out.get('train_cfg') or {}).get('max_cycles', 1)
            scheduler.setdefault('max_cycles', length)
    _check_types(out)
    return out


def _check_types(cfg: PlainConfig) -> None:
    """Refuse values of a type that no part of ours takes.

    Raises:
        UserError: Says where, what and what would be right.
    """
    # pipelines of entries have names for sizes, which tasks put in
    for key in _known_keys() - {'datasets', 'task_defaults'}:
        check_parts(cfg.get(key), key)
    for task in cfg.task_table:
        where = f'task {task.name}'
        check_parts(task.config['reader'], f'{where}, reader')
        check_parts(task.metric_cfg(), f'{where}, metric')
        for which in ('train', 'test'):
            pipeline = task.pipeline(which)
            check_parts(pipeline, f'{where}, {which}_pipeline')


def _check_sections(cfg: Config) -> None:
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
    check_arguments(seeds, set_random_seed, 'randomness')
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


def _expand_amp(wrapper: dict[str, Any]) -> None:
    """Take mmengine's mixed precision, which ``--amp`` asks for, as ours.

    Its wrapper clips all kinds alike and refuses a CPU.
    """
    if wrapper.get('type') in ('AmpOptimWrapper', 'mmengine.AmpOptimWrapper'):
        wrapper['type'] = 'MultiTaskOptimWrapper'
        wrapper.pop('loss_scale', None)
        import torch

        usual = 'float16' if torch.cuda.is_available() else 'bfloat16'
        dtype = wrapper.pop('dtype', None) or usual
        if wrapper.get('amp_dtype') is None:
            wrapper['amp_dtype'] = dtype


def _expand_loaders(
    out: PlainConfig,
    cycle: dict[str, Any],
    loader: dict[str, Any],
    synthetic: bool,
) -> None:
    table = out.task_table
    workers = loader.setdefault('num_workers', 2)
    check_number('loader.num_workers', workers, 0, whole=True)
    if not workers:
        # torch refuses what only workers do
        for key in ('persistent_workers', 'prefetch_factor'):
            loader.pop(key, None)
    if loader.get('prefetch_factor') is not None:
        check_number(
            'loader.prefetch_factor', loader['prefetch_factor'], 1, whole=True
        )
    # The Runner asks for both; the batch sampler does their work. The size
    # counts where the learning rate is scaled with it.
    wrapper = out.get('optim_wrapper') or {}
    accumulated = wrapper.get('accumulative_counts', 1)
    stock = dict(
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=max(table.batch_sizes.values()) * accumulated,
        collate_fn=dict(type='fx_mm.collate_batch'),
        **loader,
    )
    shares = {
        task.name: task.config['box_free_share']
        for task in table
        if task.config.get('box_free_share') is not None
    }
    # A config that a run wrote is expanded: its loaders are made again.
    for stage in ('train', 'val', 'test'):
        for part in ('dataloader', 'evaluator'):
            out.pop(f'{stage}_{part}', None)
    if out.get('train_cfg') is not None:
        out.train_dataloader = dict(
            stock,
            dataset=dict(
                type='SyntheticDataset' if synthetic else 'MultiTaskDataset',
                split='train',
            ),
            batch_sampler=dict(
                type='CyclicBatchSampler',
                batch_sizes=table.batch_sizes,
                box_free_share=shares,
                **cycle,
            ),
        )
    for stage in ('val', 'test'):
        if out.get(f'{stage}_cfg') is None:
            continue
        out[f'{stage}_dataloader'] = dict(
            stock,
            dataset=dict(type='MultiTaskDataset', split=stage),
            batch_sampler=dict(
                type='TaskSequentialBatchSampler',
                batch_sizes=table.batch_sizes,
            ),
        )
        out[f'{stage}_evaluator'] = table.evaluators()
