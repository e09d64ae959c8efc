"""Build the stock Runner from an fx_mm config."""

import os.path as osp

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import (
    broadcast_object_list,
    is_distributed,
    is_main_process,
)
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from fx_mm.audit import warn_of_leaks
from fx_mm.config import config_errors, expand_config
from fx_mm.engine.hooks import LockReleaseHook, MeanTeacherHook
from fx_mm.tasks.table import TaskTable
from fx_mm.utils.checkpoint import find_checkpoint, register_loaders
from fx_mm.utils.dist import start_processes, unwrap
from fx_mm.utils.errors import UserError
from fx_mm.utils.memory import keep_freed_memory


def build_runner(
    cfg: Config,
    resume: bool | str = False,
    train: bool = True,
    synthetic: bool = False,
) -> Runner:
    """Expand a config and build its Runner, all parts included.

    Args:
        cfg (Config): The experiment's config, not expanded.
        resume (bool or str): Go on from the newest checkpoint in
            ``work_dir`` (True), or from this one. Defaults to False.
        train (bool): Build what training needs too. Defaults to True.
        synthetic (bool): Train on made-up samples, without the data and
            without validation and test: to measure. Defaults to False.

    Raises:
        UserError: If the config or its data cannot be used.
    """
    register_loaders()
    if not torch.cuda.is_available():
        keep_freed_memory()
    env = cfg.get('env_cfg') or {}
    start_processes(cfg.get('launcher', 'none'), env.get('dist_cfg'))
    # The closing table of a training must not look at the test split,
    # unless the config says so.
    split = cfg.get('report', 'val') if train else 'test'
    cfg = expand_config(cfg, test_split=split)
    if resume is not False:
        found = find_checkpoint(cfg.work_dir) if resume is True else resume
        # On a disk of several machines, some may not see the newest yet.
        found = _from_main_process(found)
        cfg.resume = found is not None
        cfg.load_from = found or cfg.get('load_from')
    if not train:
        cfg.load_from, cfg.resume = None, False
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
            cfg[key] = None
        cfg.param_scheduler = None
        _drop_loop(cfg, 'val')
    start = cfg.get('load_from')
    if start and '://' not in start and not osp.isfile(osp.expanduser(start)):
        raise UserError(f'load_from is "{start}", which does not exist.')
    if synthetic:
        table = TaskTable.from_cfg(cfg)
        cfg.train_dataloader.dataset = dict(
            type='SyntheticDataset',
            tasks=[task.meta for task in table],
            img_sizes={t.name: t.config['img_size'] for t in table},
        )
        _drop_loop(cfg, 'val')
        _drop_loop(cfg, 'test')
    elif cfg.get('phantom'):
        from fx_mm.phantom import ensure_phantom

        with config_errors():
            ensure_phantom(**cfg.phantom)
    if is_distributed():
        _expand_wrapper(cfg)
    with config_errors():
        runner = Runner.from_cfg(cfg)
        if cfg.get('resume'):
            # The file of the first weights may be gone by now.
            unwrap(runner.model).student.backbone.init_cfg = None
        if train:
            _build_training(runner)
            if not synthetic:
                _audit(runner)
        elif runner._test_loop is not None:
            runner._test_loop = runner.build_test_loop(runner._test_loop)
    if resume is True and not cfg.resume:
        runner.logger.warning(
            f'There is no checkpoint in {cfg.work_dir} to resume from: '
            'training begins anew.'
        )
    return runner


def _audit(runner: Runner) -> None:
    """Look for leaks in the data on the main process; all stop together.

    Raises:
        UserError: If there is one and ``audit.on_leak`` is ``stop``.
    """
    refusal = None
    if is_main_process():
        try:
            warn_of_leaks(runner)
        except UserError as error:
            refusal = str(error)
    refusal = _from_main_process(refusal)
    if refusal is not None:
        raise UserError(refusal)


def _from_main_process(value):
    values = [value]
    broadcast_object_list(values)
    return values[0]


def _expand_wrapper(cfg: Config) -> None:
    """Say how the model is wrapped and its statistics are shared.

    Raises:
        UserError: If ``sync_bn`` is set where torch has none.
    """
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.find_unused_parameters,
    )
    if not torch.cuda.is_available():
        if cfg.get('sync_bn'):
            raise UserError(
                f'sync_bn is "{cfg.sync_bn}", but synchronised BatchNorm '
                'runs on GPUs only; remove it from the config.'
            )
        wrapper['device_ids'] = None
    cfg.model_wrapper_cfg = dict(wrapper, **cfg.get('model_wrapper_cfg', {}))
    # First of all, since the teacher copies these statistics.
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [dict(type='SyncStatisticsHook'), *hooks]


def _drop_loop(cfg: Config, stage: str) -> None:
    for key in ('dataloader', 'cfg', 'evaluator'):
        cfg[f'{stage}_{key}'] = None


def _build_training(runner: Runner) -> None:
    """Build at once what ``Runner.train`` would build on its way.

    So a mistake shows before anything is written or run.
    """
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if runner._val_loop is not None:
        runner._val_loop = runner.build_val_loop(runner._val_loop)
    if runner._test_loop is not None:
        runner._test_loop = runner.build_test_loop(runner._test_loop)
    _check_hooks(runner)
    # The real schedulers record the rate after auto-scaling, so here they
    # are only tried.
    trial = OptimWrapper(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    for scheduler in runner.param_schedulers or []:
        runner._build_param_scheduler(ConfigDict(scheduler), trial)


def _check_hooks(runner: Runner) -> None:
    """Refuse lock passes or a teacher without the hook that makes them so.

    A ``custom_hooks`` of a user's config replaces the list of its base.

    Raises:
        UserError: Names the hook.
    """
    loops = [runner._train_loop, runner._val_loop, runner._test_loop]
    schedule = getattr(loops[0], 'schedule', None)
    if schedule is None:
        return
    locks = any(entry.mode != 'release' for entry in schedule.passes)
    asked = any('teacher' in getattr(loop, 'weights', ()) for loop in loops)
    needs = (
        (LockReleaseHook, locks, 'cycle.lock to "none"'),
        (
            MeanTeacherHook,
            asked or unwrap(runner.model).consistency_weight > 0,
            'model.consistency_weight to 0 and val_cfg.weights and '
            'test_cfg.weights to ["student"]',
        ),
    )
    for hook, needed, instead in needs:
        if needed and not any(isinstance(h, hook) for h in runner.hooks):
            raise UserError(
                f'custom_hooks has no {hook.__name__}, which this config '
                'needs (the list replaces that of the base config); add '
                f'dict(type="{hook.__name__}"), or set {instead}.'
            )
