"""Try everything once before a long run."""

import resource
import time
from collections.abc import Iterator
from typing import Any

import torch

from fx_mm.engine.loops.train_loop import CyclicTrainLoop
from fx_mm.engine.pace import format_seconds
from fx_mm.engine.runner import MultiTaskRunner
from fx_mm.utils.device import synchronize


def dry_run(runner: MultiTaskRunner) -> str:
    """Do two steps of each pass of a cycle and estimate the cycle's time.

    In a mixed pass, two of each of its tasks. The second step is timed, the
    first one warms up. Nothing is written but the log; the weights are
    changed and must be thrown away.

    Args:
        runner (MultiTaskRunner): Built by :func:`build_runner`.

    Returns:
        str: A table of task, mode, steps and seconds per step; the estimate;
        memory.
    """
    loop = runner.train_loop
    runner.init_model_weights()
    rows, total = [], 0.0
    for index in range(loop.schedule.passes_per_cycle):
        loop.begin_pass(index)
        mode = loop.current_pass.mode
        counts = loop.schedule.counts[loop.schedule.place(index)]
        for task, batch in _first_batches(loop, index):
            for _ in range(2):
                synchronize()
                begin = time.perf_counter()
                loop.begin_step(batch)
                runner.model.train_step(
                    batch, optim_wrapper=runner.optim_wrapper
                )
                synchronize()
                seconds = time.perf_counter() - begin
            total += seconds * counts[task]
            rows.append(
                f'{task:<24}{mode:<10}{counts[task]:>7} steps '
                f'{seconds:>8.3f} s/step'
            )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append(
        f'a cycle takes about {format_seconds(total)}, '
        f'{loop.max_cycles} cycles {format_seconds(total * loop.max_cycles)} '
        '(validation not counted)'
    )
    rows.append(f'peak memory of the process: {memory:.1f} GiB')
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated() / 2**30
        rows.append(f'peak memory of the GPU: {memory:.1f} GiB')
    return '\n'.join(rows)


def _first_batches(
    loop: CyclicTrainLoop, index: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each task of a pass with this rank's first batch of it."""
    sampler, dataset = loop.sampler, loop.dataloader.dataset
    first: dict[int, list[Any]] = {}
    for keys in sampler.walk_pass(index):
        first.setdefault(keys[0].task, keys)
    for number, keys in sorted(first.items()):
        keys = keys[sampler.rank :: sampler.world_size]
        batch = loop.dataloader.collate_fn([dataset[key] for key in keys])
        yield dataset.datasets[number].task.name, batch
