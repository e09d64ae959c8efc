"""Intervals by resampling the images with replacement.

Both ends are percentiles of the draws, or those that BCa moves them to. What
is drawn are patients where they are known, since the images of a patient are
alike, else images. A resample is one weight per image, so a metric is computed
once for all resamples: as a function of weights.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fx_mm.evaluation.statistics.bca import bca_levels, bca_p

LEVEL = 0.95
RESAMPLES = 1000
CHUNK = 25
"""Resamples at a time: their weights stay in the processor's cache."""
LEFT_OUT = 1000
"""Most parts that BCa's jackknife leaves out, one after the other."""

Statistics = Callable[[np.ndarray], dict[Any, np.ndarray]]
"""Weights uint16 (R, N) of the images to metrics by key, each (R,)."""


class Interval(NamedTuple):
    """Ends of an interval; NaN where no draw was defined."""

    low: float
    high: float


class PairedInterval(NamedTuple):
    """Difference of two models on the same images, with its interval.

    Attributes:
        difference (float): First minus other.
        low (float): Lower end.
        high (float): Upper end.
        p (float): Two-sided p-value of no difference: 1 less the level of
            the interval that ends at 0. Defaults to NaN.
        p_adjusted (float): The same for all comparisons that are read
            together. Defaults to NaN: it is in no such family.
    """

    difference: float
    low: float
    high: float
    p: float = math.nan
    p_adjusted: float = math.nan


class Sampled(NamedTuple):
    """Metrics on all images and on samples of them.

    Attributes:
        values (dict): Key to the metric on all images.
        draws (dict): Key to the metric on each resample, (R,).
        left_out (dict, optional): Key to the metric without each unit that
            is drawn, (K,); for BCa intervals.
    """

    values: dict[Any, float]
    draws: dict[Any, np.ndarray]
    left_out: dict[Any, np.ndarray] | None = None

    def interval(self, key: Any) -> Interval:
        """Return the interval of a metric."""
        left_out = None if self.left_out is None else self.left_out[key]
        return interval(self.draws[key], self.values[key], left_out)

    def intervals(self) -> dict[Any, Interval]:
        """Return the interval of each metric."""
        return {key: self.interval(key) for key in self.draws}

    def minus(self, other: 'Sampled') -> 'Sampled':
        """Return the differences to another model on the same samples.

        Args:
            other (Sampled): With the same seed and images.

        Returns:
            Sampled: Of the keys that both have.
        """
        shared = [key for key in self.draws if key in other.draws]
        left_out = None
        # infinite ratios have no difference
        with np.errstate(invalid='ignore'):
            if self.left_out is not None and other.left_out is not None:
                left_out = {
                    key: self.left_out[key] - other.left_out[key]
                    for key in shared
                }
            return Sampled(
                {key: self.values[key] - other.values[key] for key in shared},
                {key: self.draws[key] - other.draws[key] for key in shared},
                left_out,
            )

    def p_value(self, key: Any) -> float:
        """Return the two-sided p-value of a difference of 0.

        It is 1 less the level at which the interval ends at 0. N resamples
        give none below 2 / (N + 1).

        Args:
            key (Any): Of a difference.

        Returns:
            float: NaN where the difference or its draws are undefined.
        """
        draws = self.draws[key]
        draws = draws[~np.isnan(draws)]
        if not draws.size or math.isnan(self.values[key]):
            return math.nan
        if self.left_out is not None:
            return bca_p(draws, self.values[key], self.left_out[key])
        fewer = min((draws <= 0).sum(), (draws >= 0).sum())
        return min(1.0, 2 * (1 + int(fewer)) / (1 + len(draws)))

    def differences(self) -> dict[Any, PairedInterval]:
        """Return each as a difference of two models."""
        return {
            key: PairedInterval(
                self.values[key], *self.interval(key), self.p_value(key)
            )
            for key in self.draws
        }


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


def leave_out(
    statistics: Statistics, size: int, patients: Sequence[str] | None = None
) -> dict[Any, np.ndarray]:
    """Compute metrics without each image, or patient, in turn (jackknife).

    Of more than 1000, parts of several are left out, formed at random with a
    fixed seed: sums of squares and cubes over parts estimate those over the
    units.

    Args:
        statistics (Callable): Weights (R, N) to metrics by key, each (R,).
        size (int): Number of images N.
        patients (Sequence[str], optional): As of :func:`draw`.

    Returns:
        dict[Any, np.ndarray]: Key to (K,), NaN where undefined.
    """
    groups = group_numbers(patients)
    groups = np.arange(size) if groups is None else groups
    units = int(groups.max(initial=-1)) + 1
    parts = np.random.default_rng(0).permutation(units) % LEFT_OUT
    part = parts[groups]
    count = min(units, LEFT_OUT)
    chunks = [
        statistics(
            (
                part != np.arange(start, min(start + CHUNK, count))[:, None]
            ).astype(np.uint16)
        )
        for start in range(0, max(count, 1), CHUNK)
    ]
    return {
        key: np.concatenate([chunk[key] for chunk in chunks])
        for key in chunks[0]
    }


def sample(
    statistics: Statistics,
    size: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
    patients: Sequence[str] | None = None,
    bca: bool = False,
) -> Sampled:
    """Compute metrics on all images and on samples of them.

    Args:
        statistics (Callable): Weights (R, N) to metrics by key, each (R,).
        size (int): Number of images N.
        resamples (int): Defaults to 1000.
        seed (int): Defaults to 0.
        patients (Sequence[str], optional): As of :func:`draw`.
        bca (bool): Whether intervals are bias-corrected and accelerated,
            which takes up to 1000 samples more. Defaults to False.
    """
    return Sampled(
        unweighted(statistics, size),
        draw(statistics, size, resamples, seed, patients),
        leave_out(statistics, size, patients) if bca else None,
    )


def interval(
    draws: np.ndarray,
    value: float = math.nan,
    left_out: np.ndarray | None = None,
) -> Interval:
    """Return the interval of the draws that are defined.

    Args:
        draws (np.ndarray): (R,), NaN where undefined.
        value (float): The metric on all images; for BCa. Defaults to NaN.
        left_out (np.ndarray, optional): (K,) the metric without each unit:
            the interval is BCa. Defaults to None: it is of percentiles.

    Returns:
        Interval: NaN where it is undefined.
    """
    draws = draws[~np.isnan(draws)]
    levels = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    if not draws.size:
        return Interval(math.nan, math.nan)
    if left_out is not None:
        levels = tuple(bca_levels(draws, value, left_out, levels))
        if np.isnan(levels).any():
            return Interval(math.nan, math.nan)
    shares = 100 * np.array(levels)
    if np.isfinite(draws).all():
        ends = np.percentile(draws, shares)
    else:  # nothing lies between a number and an infinite ratio
        ends = np.percentile(draws, shares, method='nearest')
    return Interval(*map(float, ends))


def estimate(
    statistics: Statistics,
    size: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> dict[Any, Estimate]:
    """Compute metrics on all images, with their percentile intervals.

    Args:
        statistics (Callable): Weights (R, N) to metrics by key, each (R,).
        size (int): Number of images N.
        resamples (int): Defaults to 1000.
        seed (int): Defaults to 0.
        patients (Sequence[str], optional): As of :func:`draw`.

    Returns:
        dict[Any, Estimate]: By key.
    """
    found = sample(statistics, size, resamples, seed, patients)
    return {
        key: Estimate(value, *found.interval(key))
        for key, value in found.values.items()
    }
