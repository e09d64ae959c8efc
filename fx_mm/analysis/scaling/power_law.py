"""Power laws through the results of a few sizes, with honest intervals.

The law is ``ln(error) = a - b ln(size)``, where the error is 1 less the
metric. The form of BioVFM-21M, ``ln(metric) = a + b ln(size)``, is fitted
beside it; it has no bound at 1.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from fx_mm.evaluation.statistics.bootstrap import Estimate, interval
from fx_mm.utils.errors import UserError

LEAST = 3
"""Sizes that a fit needs."""


class LeftOut(NamedTuple):
    """A size that a fit through the others predicts.

    Attributes:
        size (float): Images or parameters.
        seen (float): Its error, the geometric mean over seeds.
        predicted (float): By the law through the other sizes.
        constant (float): The geometric mean of the others: no law at all.
    """

    size: float
    seen: float
    predicted: float
    constant: float


class PowerLaw(NamedTuple):
    """A fitted law.

    Attributes:
        exponent (Estimate): ``b`` of ``ln(error) = a - b ln(size)``; above 0
            where more is better.
        intercept (float): ``a``.
        metric_exponent (Estimate): ``b`` of ``ln(metric) = a + b ln(size)``.
        left_out (list[LeftOut]): Every size once.
    """

    exponent: Estimate
    intercept: float
    metric_exponent: Estimate
    left_out: list[LeftOut]

    def error(self, size: np.ndarray) -> np.ndarray:
        """Return the errors that the law predicts for sizes."""
        return np.exp(self.intercept) * size**-self.exponent.value

    @property
    def prediction_error(self) -> tuple[float, float]:
        """Mean absolute error of left-out sizes: the law's, a constant's."""
        law = [abs(each.predicted - each.seen) for each in self.left_out]
        none = [abs(each.constant - each.seen) for each in self.left_out]
        return float(np.mean(law)), float(np.mean(none))


def fit_power_law(
    sizes: np.ndarray, metrics: np.ndarray, seed: int = 0
) -> PowerLaw:
    """Fit a law to the results of several seeds at several sizes.

    It is the ordinary least-squares line through the logarithms; the sizes
    of a seed have one slope, and the exponent is their mean.

    Args:
        sizes (np.ndarray): (K,) above 0; at least three distinct ones.
        metrics (np.ndarray): (S, K, 1 + R) of S seeds: on all test images,
            and on each of R resamples of them, the same for all runs.
        seed (int): See :func:`estimate_over_seeds`. Defaults to 0.

    Returns:
        PowerLaw: NaN where a metric is not between 0 and 1, whose logarithm
        or whose error's is not defined.

    Raises:
        UserError: If there are fewer than three sizes.
    """
    distinct = len(np.unique(sizes))
    if distinct < LEAST:
        raise UserError(
            f'A power law needs results of at least {LEAST} sizes, and there '
            f'{"is" if distinct == 1 else "are"} {distinct}.'
        )
    with np.errstate(invalid='ignore', divide='ignore'):
        errors, scores = np.log(1 - metrics), np.log(metrics)
    errors[~np.isfinite(errors)] = np.nan
    scores[~np.isfinite(scores)] = np.nan
    x = np.log(np.asarray(sizes, np.float64))
    exponents = -_slopes(x, errors)
    mean = errors[:, :, 0].mean(axis=0)
    exponent = estimate_over_seeds(exponents, seed)
    return PowerLaw(
        exponent,
        float(mean.mean() + exponent.value * x.mean()),
        estimate_over_seeds(_slopes(x, scores), seed),
        [_leave_out(x, mean, k) for k in range(len(x))],
    )


def estimate_over_seeds(values: np.ndarray, seed: int = 0) -> Estimate:
    """Return the mean over seeds with an interval over seeds and images.

    A bootstrap of a few seeds is too narrow: of three it covers three in
    four. So each resample of the test images gets a seeds' part that is drawn
    from Student's distribution about their mean, and the interval has the
    percentiles of the sum. Without noise of the images it is the t-interval;
    of one seed it is that of the images alone.

    Args:
        values (np.ndarray): (S, 1 + R) on all test images, and on each of R
            resamples of them.
        seed (int): Of the order of the draws. Defaults to 0.
    """
    count, resamples = len(values), values.shape[1] - 1
    means = values.mean(axis=0)
    draws = means[1:]
    if count > 1:
        # evenly over the distribution: no noise of draws in its tails
        levels = (np.arange(resamples) + 0.5) / max(resamples, 1)
        parts = np.random.default_rng(seed).permutation(
            stats.t.ppf(levels, count - 1)
        )
        deviation = values[:, 0].std(ddof=1)
        draws = draws + parts * deviation / math.sqrt(count)
    return Estimate(float(means[0]), *interval(draws))


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return least-squares slopes, (S, 1 + R) of y (S, K, 1 + R)."""
    centred = x - x.mean()
    return np.einsum('k,skr->sr', centred / (centred**2).sum(), y)


def _leave_out(x: np.ndarray, y: np.ndarray, k: int) -> LeftOut:
    """Predict one size by the line through the others."""
    others, seen = np.delete(x, k), np.delete(y, k)
    slope = _slopes(others, seen[None, :, None])[0, 0]
    predicted = seen.mean() + slope * (x[k] - others.mean())
    return LeftOut(
        *(float(np.exp(v)) for v in (x[k], y[k], predicted, seen.mean()))
    )
