"""From an experiment's config to the stock Runner's."""

from typing import Any

from mmengine.config import Config

from fx_mm.config.checks import check_sections, check_top_level, check_types
from fx_mm.config.continual import ContinualPlan
from fx_mm.config.federated import FederatedPlan
from fx_mm.config.plain import PlainConfig
from fx_mm.utils.checks import as_list, check_keys, check_number
from fx_mm.utils.errors import UserError

CYCLE_KEYS = (
    'order',
    'lock',
    'lock_data_ratio',
    'max_batches',
    'min_batches',
    'rehearsal_ratio',
)
LOADER_KEYS = (
    'num_workers',
    'persistent_workers',
    'prefetch_factor',
    'pin_memory',
)


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
    if out.get('continual') is not None and out.get('train_cfg') is not None:
        ContinualPlan(out)
    if out.get('federated') is not None and out.get('train_cfg') is not None:
        FederatedPlan(out)
    table = out.task_table
    check_sections(out)
    cycle = dict(out.get('cycle') or {})
    check_keys(cycle, CYCLE_KEYS, 'cycle')
    trained = table.in_cycle(_trained(out))
    passes = plan_cycle(
        trained, cycle.get('lock', 'paper'), cycle.get('order', 'cyclic')
    )
    loader = dict(out.get('loader') or {})
    check_keys(loader, LOADER_KEYS, 'loader')
    # A batch runs one branch and one head.
    out.setdefault('find_unused_parameters', True)
    # The Runner asks for it; None is a seed of its own choice.
    out.randomness = {'seed': None, **out.get('randomness', {})}
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
        if not isinstance(scheduler.get('type'), str):
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
    check_types(out)
    return out


def _trained(cfg: PlainConfig) -> list[str] | None:
    """Return the tasks that are trained, None for all; all are evaluated."""
    chosen = as_list((cfg.get('train_cfg') or {}).get('tasks'))
    if chosen is not None and not chosen:
        raise UserError(
            'train_cfg.tasks is empty; name tasks, or leave it out for all.'
        )
    return chosen


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
    check_number(
        'optim_wrapper.accumulative_counts', accumulated, 1, whole=True
    )
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
                batch_sizes={
                    task.name: int(task.config['batch_size'])
                    for task in table.in_cycle()
                },
                box_free_share=shares,
                **cycle,
            ),
        )
        names = _trained(out)
        if names is not None:
            out.train_dataloader['dataset']['tasks'] = names
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
