"""Try everything once before a long run."""

import resource
import time

import torch
from mmengine.runner import Runner

from ..engine.hooks.pass_log_hook import format_seconds


def dry_run(runner: Runner) -> str:
    """Do two steps of each pass of a cycle and estimate the cycle's time.

    The second step is timed, the first one warms up. Nothing is written but
    the log; the weights are changed and must be thrown away.

    Args:
        runner (Runner): Built by :func:`build_runner`.

    Returns:
        str: A table: task, mode, steps, seconds a step; the estimate; memory.
    """
    loop = runner.train_loop
    runner._init_model_weights()
    rows, total = [], 0.0
    for index, entry in enumerate(loop.schedule.passes):
        loop.begin_pass(index)
        batches = loop.sampler.pass_batches(index)
        for keys in batches[:1] * 2:
            keys = keys[loop.sampler.rank :: loop.sampler.world_size]
            dataset = loop.dataloader.dataset
            batch = loop.dataloader.collate_fn([dataset[k] for k in keys])
            begin = time.perf_counter()
            runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
            seconds = time.perf_counter() - begin
        length = loop.schedule.length(index)
        total += seconds * length
        rows.append(
            f'{entry.task:<24}{entry.mode:<10}{length:>7} steps '
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
