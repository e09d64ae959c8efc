"""Do the tasks pull the shared parts in the same direction?"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from fx_mm.analysis.step_timing import Trainer
from fx_mm.evaluation.statistics.gradient_conflict import (
    LEAST_FOLDS,
    GradientConflict,
)
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

BACKBONE = 'backbone'


def shared_parts(trainer: Trainer) -> dict[str, list[str]]:
    """Name the parameters that all tasks move, part by part.

    Args:
        trainer (Trainer): Of the model.

    Returns:
        dict[str, list[str]]: ``backbone.stages.0``, ``localization/encoder``
        and so on to names of parameters, in the model's order.
    """
    student = trainer.model.student
    shared = [group for group in student.param_groups() if group.task is None]
    parts: dict[str, list[str]] = {}
    for name, parameter in student.named_parameters():
        group = next((each for each in shared if each.owns(name)), None)
        if group is None or not parameter.requires_grad:
            continue
        part = group.name
        if part == BACKBONE:
            words = name.split('.')
            part = '.'.join(words[: 3 if words[2].isdigit() else 2])
        parts.setdefault(part, []).append(name)
    return parts


def measure_conflict(
    cfg: Config,
    tasks: Sequence[str] | None = None,
    folds: int = 5,
    batches: int = 8,
) -> GradientConflict:
    """Measure how the tasks' gradients on the shared parts agree.

    The model takes no step. Each task's loss is that of a release step
    without the teacher, in float32, on the images that training would draw.
    Needs 4 bytes of memory per shared parameter, task and fold.

    Args:
        cfg (Config): The experiment's config; ``load_from`` names the weights.
        tasks (Sequence[str], optional): Defaults to None: all of the config.
        folds (int): Groups of batches. Defaults to 5.
        batches (int): Of each fold. Defaults to 8.

    Returns:
        GradientConflict: Of all shared parts.

    Raises:
        UserError: If there are fewer than two tasks or three folds, a task is
            unknown, or its passes are all locked.
    """
    check_number('folds', folds, LEAST_FOLDS, whole=True)
    check_number('batches', batches, 1, whole=True)
    trainer = Trainer(cfg, synthetic=False)
    names = trainer.model.student.task_names
    for task in tasks or ():
        if task not in names:
            raise UserError(
                f'Task "{task}" is not in the config; it has '
                f'{", ".join(names)}.'
            )
    chosen = tuple(name for name in names if name in (tasks or names))
    if len(chosen) < 2:
        raise UserError('Gradients of one task alone cannot disagree.')
    trainer.runner.load_or_resume()
    parts = shared_parts(trainer)
    if not parts:
        raise UserError('The model has no shared part that learns.')
    sums: dict[str, list[Tensor]] = {part: [] for part in parts}
    spreads = {part: np.zeros(len(chosen)) for part in parts}
    for number, task in enumerate(chosen):
        if not trainer.begin(task, 'release', False):
            raise UserError(
                f'Task "{task}" has no release pass (cycle.lock), so it '
                'never moves the shared parts.'
            )
        data = release_batches(trainer, task)
        for _ in range(folds):
            for index in range(batches):
                for part, gradient in _gradients(trainer, next(data), parts):
                    spreads[part][number] += float(gradient @ gradient)
                    if index:
                        sums[part][-1] += gradient
                    else:
                        sums[part].append(gradient)
    shape = (len(chosen), folds, len(chosen), folds)
    products = {}
    for part in parts:
        rows = torch.stack(sums.pop(part)) / batches
        products[part] = (rows @ rows.T).cpu().double().numpy().reshape(shape)
    count = folds * batches
    return GradientConflict(
        chosen, batches, products, {k: v / count for k, v in spreads.items()}
    )


def release_batches(trainer: Trainer, task: str) -> Iterator[dict[str, Any]]:
    """Walk a task's release passes, cycle after cycle."""
    loop = trainer.loop
    passes = loop.schedule.passes
    place = next(
        i
        for i, entry in enumerate(passes)
        if entry.task == task and entry.mode == 'release'
    )
    while True:
        for keys in loop.sampler.pass_batches(place):
            yield trainer.collate(keys)
        place += len(passes)


def _gradients(
    trainer: Trainer, batch: dict[str, Any], parts: dict[str, list[str]]
) -> Iterator[tuple[str, Tensor]]:
    """Yield each part with its flat gradient; zeros where there is none."""
    model = trainer.model
    model.zero_grad()
    data = model.data_preprocessor(batch, True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    weights = dict(model.student.named_parameters())
    for weight in weights.values():
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    for part, names in parts.items():
        gradients = [cast(Tensor, weights[name].grad) for name in names]
        yield part, torch.cat([each.flatten().float() for each in gradients])
    model.zero_grad()
