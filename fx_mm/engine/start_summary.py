"""What a terminal shows of a start: one block of ten lines."""

import logging
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import mmengine
import torch
from mmengine.logging import MMLogger

from fx_mm.version import __version__

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

STOCK = str(Path(mmengine.__file__).parent)


class QuietStart(logging.Filter):
    """Keeps mmengine's own remarks off the terminal, inside of a ``with``.

    Its report of the environment, the expanded config and the hooks is 700
    lines and more; they stay in the log file. Warnings pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def __enter__(self) -> 'QuietStart':
        self._depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._depth -= 1

    def apply(self, logger: MMLogger) -> None:
        """Filter what a logger writes to the terminal."""
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass or not."""
        stock = record.pathname.startswith(STOCK)
        return not (self._depth and stock and record.levelno < logging.WARNING)


def start_summary(runner: 'MultiTaskRunner') -> str:
    """Return the block that a training begins with.

    Args:
        runner (MultiTaskRunner): With its loops built.

    Returns:
        str: Versions that matter, tasks, images, cycle, device, log.
    """
    loop = runner.train_loop
    datasets = runner.train_dataloader.dataset.datasets
    kinds: dict[str, list[str]] = {}
    images = 0
    for dataset in datasets:
        task = dataset.task
        kinds.setdefault(task.kind.annotation, []).append(task.dataset)
        images += len(dataset)
    annotations = '; '.join(
        f'{word} of {", ".join(names)}' for word, names in kinds.items()
    )
    schedule = loop.schedule
    locked = sum(entry.mode != 'release' for entry in schedule.passes)
    lines = (
        f'fx_mm {__version__}, torch {torch.__version__}, mmengine '
        f'{mmengine.__version__}, Python {platform.python_version()}',
        f'tasks     {len(datasets)}: {annotations}',
        f'images    {images} to train on, counted once per task',
        f'cycle     {schedule.passes_per_cycle} passes ({locked} locked), '
        f'{schedule.iters_per_cycle} iterations; {loop.max_cycles} cycles',
        f'model     {_count(runner)} parameters; seed {runner.seed}',
        f'device    {_device(runner)}',
        f'work dir  {runner.work_dir}',
        f'log       {runner.log_dir}',
    )
    return '\n' + '\n'.join(lines)


def _count(runner: 'MultiTaskRunner') -> str:
    count = sum(
        p.numel()
        for name, p in runner.model.named_parameters()
        if 'teacher.' not in name
    )
    return f'{count / 1e6:.1f} M'


def _device(runner: 'MultiTaskRunner') -> str:
    count = f'{runner.world_size} x ' if runner.world_size > 1 else ''
    device = next(runner.model.parameters()).device
    if device.type != 'cuda':
        return f'{count}CPU, {torch.get_num_threads()} threads'
    return count + torch.cuda.get_device_name(device)
