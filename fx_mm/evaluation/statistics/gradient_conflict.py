"""Norms and cosines of the expected gradients of several tasks.

The gradient of a batch is mostly noise, which makes every norm too large and
every cosine too small. So both are computed from inner products of DIFFERENT
batches: their expectation is the inner product of the expected gradients.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from fx_mm.evaluation.statistics.bootstrap import LEVEL

LEAST_FOLDS = 3


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
        n = len(folds)
        # two tasks may have drawn the same images in the same fold
        same = np.einsum('tfuf->tu', values)
        return (values.sum(axis=(1, 3)) - same) / (n * (n - 1))

    def norms(self, part: str, left_out: int | None = None) -> np.ndarray:
        """Norms of the expected gradients, (T,); NaN below the noise."""
        squares = np.diag(self.inner(part, left_out))
        return np.sqrt(np.where(squares > 0, squares, np.nan))

    def cosines(self, part: str) -> np.ndarray:
        """Cosines between the expected gradients.

        Returns:
            np.ndarray: (T, T), in -1..1; NaN where a gradient cannot be told
            from the noise.
        """
        return np.clip(self._ratios(part), -1, 1)

    def _ratios(self, part: str, left_out: int | None = None) -> np.ndarray:
        """Cosines that noise can take beyond -1..1."""
        norms = self.norms(part, left_out)
        return self.inner(part, left_out) / np.outer(norms, norms)

    def cosine_errors(self, part: str) -> np.ndarray:
        """Half widths of the cosines' 95 % intervals.

        A jackknife over the folds, with Student's quantile.

        Returns:
            np.ndarray: (T, T); NaN where a fold less leaves no cosine.
        """
        n = self.folds
        values = np.stack([self._ratios(part, fold) for fold in range(n)])
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
                if math.isnan(value) or math.isnan(error):
                    cell = 'below the noise'
                ratio = f'{norms[i] / norms[j]:.2f}'
                yield [part, self.tasks[i], self.tasks[j], cell, ratio]


def _plain(values: np.ndarray) -> Any:
    """Nested lists with None for NaN."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [None if math.isnan(v) else round(float(v), 6) for v in values]
