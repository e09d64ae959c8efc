"""From an experiment's config to the stock Runner's."""

import contextlib
import inspect
import os.path as osp
from pathlib import Path
from pprint import pformat

from mmengine.config import Config
from mmengine.runner import Runner

from fx_mm.datasets.samplers.pass_schedule import plan_cycle
from fx_mm.tasks.table import Task, TaskTable
from fx_mm.utils.checks import check_keys, check_number
from fx_mm.utils.errors import UserError

CYCLE_KEYS = ('order', 'lock', 'lock_share', 'max_batches', 'min_batches')
LOADING_STEPS = (
    'LoadXray',
    'LoadXrayAnnotations',
    'fx_mm.LoadXray',
    'fx_mm.LoadXrayAnnotations',
)
CACHE_KEYS = ('dir', 'factor')
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
    'env_cfg',
    'compile',
    # read by mmengine from the config, not from the Runner's arguments
    'find_unused_parameters',
    'model_wrapper_cfg',
    'sync_bn',
)


class PlainConfig(Config):
    """A config whose text costs milliseconds.

    mmengine formats it with yapf, which takes seconds for an expanded config,
    and asks for it at every checkpoint.
    """

    @property
    def pretty_text(self) -> str:
        """str: The config as Python, one assignment a key."""
        return ''.join(
            f'{key} = {pformat(value, width=79, sort_dicts=False)}\n'
            for key, value in self.to_dict().items()
        )


def load_config(
    path: str, options: dict | None = None, data_root: str | None = None
) -> Config:
    """Read a config file and merge ``--cfg-options`` into it.

    Args:
        path (str): The config file.
        options (dict, optional): Nested key to value. Defaults to None.
        data_root (str, optional): Folder that takes the place of ``data/``
            in the paths of all datasets. Defaults to None.

    Raises:
        UserError: If the file is missing or cannot be read.
    """
    if not osp.isfile(path):
        raise UserError(f'Config "{path}" does not exist.')
    try:
        cfg = Config.fromfile(path)
        if options:
            cfg.merge_from_dict(options)
    except Exception as error:
        # A config is a program: anything can go wrong in it.
        raise UserError(
            f'Config "{path}" cannot be read: '
            f'{type(error).__name__}: {str(error).splitlines()[-1]}'
        ) from error
    if data_root is not None:
        _move_data(cfg, data_root)
    if not cfg.get('work_dir'):
        name = osp.splitext(osp.basename(path))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    return cfg


def _move_data(cfg: Config, root: str) -> None:
    """Put what lies in ``data/`` below another folder.

    Raises:
        UserError: If the folder does not exist.
    """
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


@contextlib.contextmanager
def config_errors():
    """Turn what a registry says of a wrong key or type into one sentence."""
    try:
        yield
    except (
        TypeError,
        KeyError,
        IndexError,
        ValueError,
        AssertionError,
    ) as error:
        text = ' '.join(str(error).split())
        raise UserError(
            f'The config cannot be built: {type(error).__name__}: {text}'
        ) from error


def check_top_level(cfg: Config) -> None:
    """Refuse a top-level key that nothing reads.

    Allowed are the Runner's arguments, fx_mm's own keys and names of datasets
    that came with a base file.

    Raises:
        UserError: Names the key and the likely one.
    """
    runner = set(inspect.signature(Runner.__init__).parameters) - {'self'}
    bases = {
        key
        for key, value in cfg.items()
        if isinstance(value, dict) and isinstance(value.get('tasks'), dict)
    }
    known = runner | set(OWN_KEYS) | bases
    plain = dict.fromkeys(cfg)
    check_keys(plain, known, 'the config')


def expand_config(cfg: Config, test_split: str = 'test') -> Config:
    """Turn ``datasets`` and ``tasks`` into the Runner's keys.

    Call it after ``--cfg-options``. Fills ``model.student.tasks``, the
    dataloaders, the evaluators and what the schedule needs to know of the
    cycle; keys that a config sets itself are overwritten. With ``cache``,
    training reads images reduced to ``factor`` times the task's size.

    Args:
        cfg (Config): The experiment's config; it is not changed.
        test_split (str): Split that the test loop reads. Defaults to
            ``test``.

    Returns:
        Config: For ``Runner.from_cfg``.

    Raises:
        UserError: If a key or task is unknown or incomplete.
    """
    check_top_level(cfg)
    if cfg.get('model') is None:
        raise UserError('The config has no "model".')
    out = PlainConfig(cfg.to_dict(), filename=cfg.filename)
    table = TaskTable.from_cfg(out)
    cycle = dict(out.get('cycle') or {})
    check_keys(cycle, CYCLE_KEYS, 'cycle')
    passes = plan_cycle(
        table.names, cycle.get('lock', 'paper'), cycle.get('order', 'cyclic')
    )
    loader = dict(out.get('loader') or {})
    check_keys(loader, LOADER_KEYS, 'loader')
    # A batch runs one branch and one head.
    out.setdefault('find_unused_parameters', True)
    _expand_model(out, table)
    _expand_loaders(out, table, cycle, loader, test_split)
    _expand_cache(out, table)
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
            scheduler.setdefault('max_cycles', out.train_cfg.max_cycles)
    return out


def _expand_model(out: Config, table: TaskTable) -> None:
    heads = [task.head_cfg() for task in table]
    if 'student' not in out.model:
        raise UserError(
            f'model.type is "{out.model.get("type")}"; wrap it: '
            'model = dict(type="MeanTeacher", student=...), with '
            'consistency_weight=0 to train without a teacher.'
        )
    model = out.model.student
    model['tasks'] = heads
    if model.get('region_guidance') is not None:
        # a dataset that has boxes must bring them, in training and testing
        model.region_guidance['datasets'] = [
            name
            for name, dataset in out.datasets.items()
            if {'loc', 'seg'} <= set(dataset.get('tasks') or {})
        ]
    if model.get('localization') is not None:
        # The shared label embedding must not depend on which tasks are
        # active: a checkpoint of all is tested on one.
        entries = [
            d.get('tasks', {}).get('loc') for d in out.datasets.values()
        ]
        sizes = [len(e['classes']) for e in entries if e]
        localization = model['localization']
        if localization.get('num_labels') is None:
            head = localization.get('head') or {}
            first = head.get('first_label', 0)
            localization['num_labels'] = first + max(sizes, default=1)


def _expand_loaders(
    out: Config,
    table: TaskTable,
    cycle: dict,
    loader: dict,
    test_split: str,
) -> None:
    workers = loader.setdefault('num_workers', 2)
    if not workers:
        loader.pop('persistent_workers', None)
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
    if out.get('train_cfg') is not None:
        out.train_dataloader = dict(
            stock,
            dataset=table.dataset_cfg('train'),
            batch_sampler=dict(
                type='CyclicBatchSampler',
                batch_sizes=table.batch_sizes,
                box_free_share=shares,
                **cycle,
            ),
        )
    for stage, split in (('val', 'val'), ('test', test_split)):
        if out.get(f'{stage}_cfg') is None:
            continue
        out[f'{stage}_dataloader'] = dict(
            stock,
            dataset=table.dataset_cfg(split),
            batch_sampler=dict(
                type='TaskSequentialBatchSampler',
                batch_sizes=table.batch_sizes,
            ),
        )
        out[f'{stage}_evaluator'] = table.evaluators()


def _expand_cache(out: Config, table: TaskTable) -> None:
    """Let the training pipelines load reduced images.

    Validation and test keep the originals.
    """
    cache = out.get('cache')
    if cache is None or out.get('train_dataloader') is None:
        return
    if not isinstance(cache, dict) or not cache.get('dir'):
        raise UserError(
            f'cache is {cache!r}, which names no "dir"; write the folder of '
            'the reduced images, such as cache = dict(dir="data/cache").'
        )
    check_keys(cache, CACHE_KEYS, 'cache')
    factor = cache.get('factor', 1.15)
    check_number('cache.factor', factor, 1)
    for task, dataset in zip(table, out.train_dataloader.dataset.datasets):
        use_cache(dataset['pipeline'], task, cache['dir'], factor)


def use_cache(
    pipeline: list[dict], task: Task, folder: str, factor: float
) -> None:
    """Let a pipeline's loading steps take reduced images.

    Args:
        pipeline (list[dict]): Transforms; those that have a cache_dir of
            their own keep it.
        task (Task): The reduced images' shorter side is the largest size
            that its pipeline asks for,
        folder (str): Folder of the reduced images.
        factor (float): times this.
    """
    sizes = (task.config.get('img_size'), task.config.get('resize_size'))
    side = round(max(size or 0 for size in sizes) * factor)
    for step in pipeline:
        if step.get('type') in LOADING_STEPS:
            step.setdefault('cache_dir', folder)
            step.setdefault('cache_size', side)
