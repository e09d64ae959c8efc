"""What the trainings of a study took, and what a training is."""

import copy
from collections.abc import Iterable

import numpy as np
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope

from fx_mm.analysis.sweep import Run
from fx_mm.config import expand_config
from fx_mm.datasets import MultiTaskDataset
from fx_mm.models import build_model
from fx_mm.registry import DATA_SAMPLERS
from fx_mm.tasks import TaskTable

TOOK = ('seconds', 'processor_seconds', 'peak_memory_gib')


def describe_training(cfg: Config) -> dict[str, int]:
    """Count what a training of a config consists of.

    Args:
        cfg (Config): An experiment's config.

    Returns:
        dict[str, int]: ``steps``, ``images`` (read in them, repeated ones
        counted each time) and ``parameters`` (of the student).
    """
    init_default_scope('fx_mm')
    expanded = expand_config(copy.deepcopy(cfg))
    options = dict(expanded.train_dataloader.batch_sampler)
    dataset = MultiTaskDataset(TaskTable.from_cfg(cfg), 'train')
    sampler = DATA_SAMPLERS.build(
        dict(options, sampler=DefaultSampler(dataset), batch_size=1)
    )
    schedule, sizes = sampler.schedule, options['batch_sizes']
    cycles = cfg.train_cfg.max_cycles
    counts = [c for each in schedule.counts for c in each.items()]
    student = build_model(cfg).student
    return dict(
        steps=cycles * schedule.iters_per_cycle,
        images=cycles * sum(sizes[task] * n for task, n in counts),
        parameters=sum(p.numel() for p in student.parameters()),
    )


def mean_cost(runs: Iterable[Run]) -> dict[str, float]:
    """Return what runs took in the mean, of those that kept it.

    Returns:
        dict[str, float]: ``seconds``, ``processor_seconds``,
        ``peak_memory_gib`` and ``runs``; only the last where none kept it.
    """
    kept = [run.cost for run in runs if run.cost]
    found = (
        {key: float(np.mean([c[key] for c in kept])) for key in TOOK}
        if (kept)
        else {}
    )
    return found | dict(runs=len(kept))


def total_cost(runs: Iterable[Run]) -> dict[str, float]:
    """Add up what distinct runs took.

    Returns:
        dict[str, float]: ``seconds``, ``processor_seconds``, ``runs`` and
        ``unknown``, the finished runs whose cost was not kept.
    """
    distinct = {id(run): run for run in runs if run.finished}
    costs = [run.cost for run in distinct.values()]
    return dict(
        seconds=sum(c.get('seconds', 0.0) for c in costs),
        processor_seconds=sum(c.get('processor_seconds', 0.0) for c in costs),
        runs=len(costs),
        unknown=sum(not c for c in costs),
    )
