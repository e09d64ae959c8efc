"""AUCs with their bootstrap intervals, several at once on the same draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fx_mm.evaluation.statistics.bootstrap import (
    RESAMPLES,
    Statistics,
    draw,
    interval,
)
from fx_mm.evaluation.statistics.ranking import RankedScores, auc


class Estimate(NamedTuple):
    """A value and the ends of its 95 % interval, NaN where undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return 'n/a'
        return f'{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]'

    def to_dict(self) -> dict:
        """Give the three, ready for JSON; undefined ones are None."""
        return {
            key: float(value) if math.isfinite(value) else None
            for key, value in self._asdict().items()
        }


def auc_statistics(
    columns: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> Statistics:
    """Give what a bootstrap asks for: AUCs by name.

    Args:
        columns (Mapping): Name to labels (N,), of which 0 and 1 count, and
            scores (N,), NaN where there is none.

    Returns:
        Callable: Weights (R, N) to AUCs by name, each (R,).
    """
    ranked = {
        name: RankedScores(
            np.where(np.isin(labels, (0, 1)) & ~np.isnan(s), labels, np.nan), s
        )
        for name, (labels, s) in columns.items()
    }
    return lambda weights: {
        name: auc(*each.counts(weights)) for name, each in ranked.items()
    }


def estimate(
    statistics: Callable,
    size: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> dict[str, Estimate]:
    """Compute statistics on the images, and their intervals.

    Args:
        statistics (Callable): Weights (R, N) to values by name, each (R,).
        size (int): Number of images N.
        resamples (int): Defaults to 1000.
        seed (int): Defaults to 0.
        patients (Sequence[str], optional): Patient of each image: these are
            drawn. Defaults to None: images are.

    Returns:
        dict[str, Estimate]: By name.
    """
    values = statistics(np.ones((1, size), np.uint16))
    draws = draw(statistics, size, resamples, seed, patients)
    return {
        name: Estimate(float(value[0]), *interval(draws[name]))
        for name, value in values.items()
    }


def nan_mean(values: Sequence[np.ndarray]) -> np.ndarray:
    """Average what is defined, column by column.

    Args:
        values (Sequence[np.ndarray]): Each (R,).

    Returns:
        np.ndarray: (R,), NaN where nothing is defined.
    """
    stacked = np.stack(list(values))
    known = ~np.isnan(stacked)
    total = np.where(known, stacked, 0).sum(axis=0)
    with np.errstate(invalid='ignore', divide='ignore'):
        return total / known.sum(axis=0)
