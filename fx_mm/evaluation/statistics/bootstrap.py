"""Intervals by resampling the images with replacement.

Both ends are percentiles of the draws. What is drawn are patients where they
are known, since the images of a patient are alike, else images. A resample is
one weight per image, so a metric is computed once for all resamples: as a
function of weights.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000
CHUNK = 25
"""Resamples at a time: their weights stay in the processor's cache."""

Statistics = Callable[[np.ndarray], dict[Any, np.ndarray]]
"""Weights uint16 (R, N) of the images to metrics by key, each (R,)."""


class Interval(NamedTuple):
    """Ends of an interval; NaN where no draw was defined."""

    low: float
    high: float


class PairedInterval(NamedTuple):
    """Difference of two models on the same images, with its interval."""

    difference: float
    low: float
    high: float


class Estimate(NamedTuple):
    """A value and the ends of its 95 % interval, NaN where undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return 'n/a'
        return f'{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]'

    def to_dict(self) -> dict[str, float | None]:
        """Return the three, ready for JSON; undefined ones are None."""
        return {
            key: float(value) if math.isfinite(value) else None
            for key, value in self._asdict().items()
        }


def unit_weights(size: int) -> np.ndarray:
    """Return the weights that count every image once, uint16 (1, N)."""
    return np.ones((1, size), np.uint16)


def unweighted(statistics: Statistics, size: int) -> dict[Any, float]:
    """Compute metrics with every image counted once.

    Args:
        statistics (Callable): Weights (R, N) to metrics by key, each (R,).
        size (int): Number of images N.

    Returns:
        dict[Any, float]: Key to value, NaN where undefined.
    """
    found = statistics(unit_weights(size))
    return {key: float(values[0]) for key, values in found.items()}


def resample(
    size: int, resamples: int, seed: int, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Draw bootstrap samples with replacement, as counts.

    Args:
        size (int): Number of images N.
        resamples (int): Number of resamples.
        seed (int): Seed of the draws; the same for two models that are
            compared, so that they are paired.
        groups (np.ndarray, optional): (N,) whole numbers from 0, such as the
            patient of each image: whole groups are drawn. Defaults to None.

    Yields:
        np.ndarray: uint16 (R, N), how often each image was drawn, for some
        of the resamples.
    """
    rng = np.random.default_rng(seed)
    units = size if groups is None else int(groups.max(initial=-1)) + 1
    for start in range(0, resamples, CHUNK):
        drawn = np.empty((min(CHUNK, resamples - start), units), np.uint16)
        for row in drawn:
            if units:
                chosen = rng.integers(units, size=units)
                row[:] = np.bincount(chosen, minlength=units)
        yield drawn if groups is None else drawn[:, groups]


def group_numbers(patients: Sequence[str] | None) -> np.ndarray | None:
    """Number the patients of images for :func:`resample`."""
    if patients is None:
        return None
    return np.unique(list(patients), return_inverse=True)[1]


def draw(
    statistics: Statistics,
    size: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> dict[Any, np.ndarray]:
    """Compute metrics on resamples of the images.

    Args:
        statistics (Callable): Weights (R, N) to metrics by key, each (R,).
        size (int): Number of images N.
        resamples (int): Defaults to 1000.
        seed (int): Defaults to 0.
        patients (Sequence[str], optional): Patient of each image. Defaults
            to None: each image is drawn for itself.

    Returns:
        dict[Any, np.ndarray]: Key to the metric on each resample, NaN where
        undefined.
    """
    groups = group_numbers(patients)
    chunks = [
        statistics(weights)
        for weights in resample(size, resamples, seed, groups)
    ]
    return {
        key: np.concatenate([chunk[key] for chunk in chunks])
        for key in (chunks[0] if chunks else ())
    }


def interval(draws: np.ndarray) -> Interval:
    """Return the percentile interval of the draws that are defined."""
    draws = draws[~np.isnan(draws)]
    if not draws.size:
        return Interval(math.nan, math.nan)
    ends = np.percentile(draws, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return Interval(*map(float, ends))


def intervals(draws: Mapping[Any, np.ndarray]) -> dict[Any, Interval]:
    """Return the interval of each metric."""
    return {key: interval(values) for key, values in draws.items()}


def estimate(
    statistics: Statistics,
    size: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> dict[Any, Estimate]:
    """Compute metrics on all images, with their intervals.

    Args:
        statistics (Callable): Weights (R, N) to metrics by key, each (R,).
        size (int): Number of images N.
        resamples (int): Defaults to 1000.
        seed (int): Defaults to 0.
        patients (Sequence[str], optional): As of :func:`draw`.

    Returns:
        dict[Any, Estimate]: By key.
    """
    draws = draw(statistics, size, resamples, seed, patients)
    return {
        key: Estimate(value, *interval(draws[key]))
        for key, value in unweighted(statistics, size).items()
    }


def paired_intervals(
    values: Mapping[str, float],
    draws: Mapping[str, np.ndarray],
    other_values: Mapping[str, float],
    other_draws: Mapping[str, np.ndarray],
) -> dict[str, PairedInterval]:
    """Compare two models on the same resamples of the same images.

    Args:
        values (Mapping[str, float]): Metrics of a model.
        draws (Mapping[str, np.ndarray]): Of :func:`draw`, with the same
            seed and images as ``other_draws``.
        other_values (Mapping[str, float]): Metrics of the other.
        other_draws (Mapping[str, np.ndarray]): Its draws.

    Returns:
        dict[str, PairedInterval]: First minus other, for the keys that both
        have.
    """
    return {
        key: PairedInterval(
            values[key] - other_values[key],
            *interval(draws[key] - other_draws[key]),
        )
        for key in draws
        if key in other_draws
    }
