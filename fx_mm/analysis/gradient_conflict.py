"""Do the tasks pull the shared parts in the same direction?

Means over batches of the gradients of each task's own loss, compared by their
norms and cosines. The gradient of a batch is mostly noise, which makes every
norm too large and every cosine too small, so both are computed from inner
products of DIFFERENT batches: these have the inner products of the expected
gradients as their expectation.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from scipy import stats
from torch import Tensor

from fx_mm.analysis.step_timing import Trainer
from fx_mm.evaluation.statistics.bootstrap import LEVEL
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

LEAST_FOLDS = 3
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


@dataclass(frozen=True)
class GradientConflict:
    """Inner products of the tasks' mean gradients, by part.

    Args:
        tasks (tuple[str]): Names, T of them.
        batches (int): In a fold.
        products (dict[str, np.ndarray]): Part to (T, F, T, F): inner products
            of the mean gradients of each task in each of F folds.
        spreads (dict[str, np.ndarray]): Part to (T,): the mean squared norm
            of the gradient of a single batch.
    """

    tasks: tuple[str, ...]
    batches: int
    products: dict[str, np.ndarray]
    spreads: dict[str, np.ndarray]

    @property
    def folds(self) -> int:
        """int: Number of folds, F."""
        return next(iter(self.products.values())).shape[1]

    def reached(self, part: str) -> list[int]:
        """Numbers of the tasks whose losses depend on a part."""
        return np.flatnonzero(self.spreads[part]).tolist()

    def inner(self, part: str, left_out: int | None = None) -> np.ndarray:
        """Estimate the inner products of the expected gradients.

        Args:
            part (str): A shared part.
            left_out (int, optional): A fold that does not count. Defaults to
                None.

        Returns:
            np.ndarray: (T, T); a squared norm on the diagonal, which noise
            can make negative.
        """
        folds = [i for i in range(self.folds) if i != left_out]
        values = self.products[part][:, folds][..., folds]
        means = values.mean(axis=(1, 3))
        n = len(folds)
        same = np.einsum('tftf->t', values)
        squares = (np.einsum('tftg->t', values) - same) / (n * (n - 1))
        np.fill_diagonal(means, squares)
        return means

    def norms(self, part: str, left_out: int | None = None) -> np.ndarray:
        """Norms of the expected gradients, (T,); NaN below the noise."""
        squares = np.diag(self.inner(part, left_out))
        return np.sqrt(np.where(squares > 0, squares, np.nan))

    def cosines(self, part: str, left_out: int | None = None) -> np.ndarray:
        """Cosines between the expected gradients.

        Returns:
            np.ndarray: (T, T), in -1..1; NaN where a gradient cannot be told
            from the noise.
        """
        norms = self.norms(part, left_out)
        cosines = self.inner(part, left_out) / np.outer(norms, norms)
        return np.clip(cosines, -1, 1)

    def cosine_errors(self, part: str) -> np.ndarray:
        """Half widths of the cosines' 95 % intervals.

        A jackknife over the folds, with Student's quantile.

        Returns:
            np.ndarray: (T, T); NaN where a fold less leaves no cosine.
        """
        n = self.folds
        values = np.stack([self.cosines(part, fold) for fold in range(n)])
        centred = values - values.mean(axis=0)
        errors = np.sqrt((n - 1) / n * (centred**2).sum(axis=0))
        return stats.t.ppf((1 + LEVEL) / 2, n - 1) * errors

    def signal(self, part: str) -> np.ndarray:
        """Share of a batch's squared norm that is the expected gradient."""
        squares = np.diag(self.inner(part))
        with np.errstate(divide='ignore', invalid='ignore'):
            return squares / self.spreads[part]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: None for NaN."""
        parts = {
            part: dict(
                norms=_plain(self.norms(part)),
                signal=_plain(self.signal(part)),
                cosines=_plain(self.cosines(part)),
                cosine_errors=_plain(self.cosine_errors(part)),
            )
            for part in self.products
        }
        return dict(
            tasks=list(self.tasks),
            folds=self.folds,
            batches=self.batches,
            parts=parts,
        )

    def rows(self) -> Iterator[list[str]]:
        """Yield part, two tasks, cosine and interval, and ratio of norms.

        Of the tasks that reach the part.
        """
        for part in self.products:
            cosines, errors = self.cosines(part), self.cosine_errors(part)
            norms = self.norms(part)
            for i, j in itertools.combinations(self.reached(part), 2):
                value, error = cosines[i, j], errors[i, j]
                low, high = max(value - error, -1), min(value + error, 1)
                cell = f'{value:+.2f} [{low:+.2f}, {high:+.2f}]'
                if math.isnan(value):
                    cell = 'below the noise'
                elif math.isnan(error):
                    cell = f'{value:+.2f}'
                ratio = f'{norms[i] / norms[j]:.2f}'
                yield [part, self.tasks[i], self.tasks[j], cell, ratio]


def _plain(values: np.ndarray) -> Any:
    """Nested lists with None for NaN."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [None if math.isnan(v) else round(float(v), 6) for v in values]


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
    sums = {part: [] for part in parts}  # type: dict[str, list[Tensor]]
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
    dataset = loop.dataloader.dataset
    while True:
        for keys in loop.sampler.pass_batches(place):
            yield pseudo_collate([dataset[key] for key in keys])
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
    for part, names in parts.items():
        yield (
            part,
            torch.cat(
                [
                    (
                        weights[name].grad
                        if weights[name].grad is not None
                        else torch.zeros_like(weights[name])
                    )
                    .flatten()
                    .float()
                    for name in names
                ]
            ),
        )
    model.zero_grad()
