"""What a terminal shows of a start: one block of ten lines."""

import contextlib
import importlib
import io
import logging
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import mmengine
import torch
from mmengine.logging import MMLogger

from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.models.mean_teacher import bare_model
from fx_mm.version import __version__

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

STOCK = str(Path(mmengine.__file__).parent)
NOISE = ('will be deprecated in future', 'Checkpoints will be saved to')
"""What mmengine says at every checkpoint of its own code, which no user can
do anything about; and the work directory, which the block names."""


class QuietStart(logging.Filter):
    """Keeps mmengine's own remarks off the terminal, inside of a ``with``.

    Its report of the environment, the expanded config and the hooks is 700
    lines and more; they stay in the log file. Warnings pass. What is in
    :data:`NOISE` never does.
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
        """Return whether a record passes."""
        if not record.pathname.startswith(STOCK):
            return True
        if self._depth and record.levelno < logging.WARNING:
            return False
        return not any(text in record.getMessage() for text in NOISE)


def import_quietly() -> None:
    """Import mmdet's transforms, which print what they do not find."""
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module('mmdet.datasets')


def start_summary(runner: 'MultiTaskRunner', train: bool = True) -> str:
    """Return the block that a training or a test begins with.

    Args:
        runner (MultiTaskRunner): With its loops built.
        train (bool): Whether it will train. Defaults to True.

    Returns:
        str: Versions that matter, tasks, images, cycle or checkpoint, model,
        device, where the results and the log are.
    """
    loop = runner.train_loop if train else runner.test_loop
    dataset = loop.dataloader.dataset
    images = f'{len(dataset)}, counted once per task'
    if train:
        schedule = loop.schedule
        locked = sum(entry.mode != 'release' for entry in schedule.passes)
        plan = (
            f'cycle     {schedule.passes_per_cycle} passes ({locked} locked), '
            f'{schedule.iters_per_cycle} iterations; {loop.max_cycles} cycles'
        )
    else:
        images += f'; split {dataset.split}'
        plan = f'weights   {runner.tested_checkpoint}'
    lines = (
        f'fx_mm {__version__}, torch {torch.__version__}, mmengine '
        f'{mmengine.__version__}, Python {platform.python_version()}',
        f'tasks     {_tasks(dataset.datasets)}',
        f'images    {images}',
        plan,
        f'model     {_count(runner, train)}; seed {runner.seed}',
        f'device    {_device(runner)}',
        f'work dir  {runner.work_dir}',
        f'log       {runner.log_dir}',
    )
    return '\n' + '\n'.join(lines)


def _tasks(datasets: Iterable[TaskDataset]) -> str:
    kinds: dict[str, list[str]] = {}
    for dataset in datasets:
        task = dataset.task
        kinds.setdefault(task.kind.annotation, []).append(task.dataset)
    count = sum(map(len, kinds.values()))
    annotations = '; '.join(
        f'{word} of {", ".join(names)}' for word, names in kinds.items()
    )
    return f'{count}: {annotations}'


def _count(runner: 'MultiTaskRunner', train: bool) -> str:
    student = bare_model(runner.model).student
    count = sum(p.numel() for p in student.parameters())
    text = f'{count / 1e6:.1f} M parameters'
    if student.adapter is None or not train:
        return text
    trained = sum(p.numel() for p in student.parameters() if p.requires_grad)
    return (
        f'{text}, {trained / 1e6:.2f} M of them trained '
        f'({student.adapter.summary})'
    )


def _device(runner: 'MultiTaskRunner') -> str:
    count = f'{runner.world_size} x ' if runner.world_size > 1 else ''
    device = next(runner.model.parameters()).device
    if device.type != 'cuda':
        return f'{count}CPU, {torch.get_num_threads()} threads'
    return count + torch.cuda.get_device_name(device)
