"""Bias-corrected and accelerated bootstrap (Efron 1987).

The percentiles that are the ends of an interval move with the median bias of
the draws, and with how fast the standard error changes with the value.
"""

import numpy as np
from scipy.special import ndtr, ndtri


def bca_levels(
    draws: np.ndarray,
    value: float,
    left_out: np.ndarray,
    levels: tuple[float, float],
) -> np.ndarray:
    """Return which shares of the draws the ends of an interval are.

    Args:
        draws (np.ndarray): (R,) a metric on resamples, without NaN.
        value (float): The metric on all images.
        left_out (np.ndarray): (K,) the metric without each unit that is
            drawn.
        levels (tuple[float, float]): Shares of the percentile interval, such
            as 0.025 and 0.975.

    Returns:
        np.ndarray: (2,) in 0..1; NaN where ``left_out`` is undefined or all
        draws lie on one side of the value.
    """
    bias, acceleration = _correction(draws, value, left_out)
    shifted = bias + ndtri(np.asarray(levels))
    with np.errstate(invalid='ignore', divide='ignore'):
        return ndtr(bias + shifted / (1 - acceleration * shifted))


def bca_p(draws: np.ndarray, value: float, left_out: np.ndarray) -> float:
    """Return the level at which an interval ends at 0, two-sided.

    Args:
        draws (np.ndarray): (R,) a difference on resamples, without NaN.
        value (float): The difference on all images.
        left_out (np.ndarray): (K,) the difference without each unit.

    Returns:
        float: The p-value; NaN where :func:`bca_levels` is.
    """
    bias, acceleration = _correction(draws, value, left_out)
    least = 1 / (len(draws) + 1)
    share = np.clip(_share_below(draws, 0), least, 1 - least)
    shifted = ndtri(share) - bias
    with np.errstate(invalid='ignore', divide='ignore'):
        tail = ndtr(shifted / (1 + acceleration * shifted) - bias)
    return float(2 * min(tail, 1 - tail))


def _correction(
    draws: np.ndarray, value: float, left_out: np.ndarray
) -> tuple[float, float]:
    """Return Efron's z0 and a; NaN where they are undefined."""
    bias = ndtri(_share_below(draws, value))
    gaps = left_out.mean() - left_out if len(left_out) else np.full(1, np.nan)
    spread = (gaps**2).sum()
    # no unit changes the metric: nothing to correct
    acceleration = 0.0 if spread == 0 else (gaps**3).sum() / 6 / spread**1.5
    return bias if np.isfinite(bias) else np.nan, acceleration


def _share_below(draws: np.ndarray, value: float) -> float:
    """Return the share of draws below a value, equal ones by half."""
    return float((draws < value).mean() + (draws == value).mean() / 2)
