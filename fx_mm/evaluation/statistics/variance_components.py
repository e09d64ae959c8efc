"""How much of a result's variance is a factor's, the seed's, and the rest.

A table of one result per level and seed is a two-way random model without
replication: value = mean + level + seed + rest, of which the rest holds the
interaction. Components are by the method of moments (mean squares equal to
their expectations), their intervals those of Tukey and Williams (Williams,
Biometrika 1962), which are exact to a good approximation for normal effects.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from fx_mm.evaluation.statistics.bootstrap import LEVEL


class Component(NamedTuple):
    """A variance with its 95 % interval.

    Attributes:
        variance (float): Unbiased, so it may be below 0; NaN without a
            degree of freedom.
        low (float): Lower end, 0 or above.
        high (float): Upper end.
    """

    variance: float
    low: float
    high: float


UNDEFINED = Component(math.nan, math.nan, math.nan)


class Components(NamedTuple):
    """Parts of the variance of one result.

    Attributes:
        level (Component): Of the factor's levels.
        seed (Component): Of the seeds.
        rest (Component): Of what is left: interaction and chance.
    """

    level: Component
    seed: Component
    rest: Component


def split_variance(table: np.ndarray) -> Components:
    """Split the variance of results by level and seed.

    Args:
        table (np.ndarray): (L, S) one result per level and seed, none
            missing.

    Returns:
        Components: NaN where there are too few levels or seeds.

    Raises:
        ValueError: If a value is missing or the table has another shape.
    """
    table = np.asarray(table, float)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError('the table must be (L, S) without gaps')
    levels, seeds = table.shape
    if levels < 2 or seeds < 2:
        return Components(UNDEFINED, UNDEFINED, UNDEFINED)
    mean = table.mean()
    rows, columns = table.mean(axis=1) - mean, table.mean(axis=0) - mean
    rest = table - mean - rows[:, None] - columns
    freedom = (levels - 1) * (seeds - 1)
    rest_square = (rest**2).sum() / freedom
    level = seeds * (rows**2).sum() / (levels - 1)
    seed = levels * (columns**2).sum() / (seeds - 1)
    return Components(
        _between(level, levels - 1, rest_square, freedom, seeds),
        _between(seed, seeds - 1, rest_square, freedom, levels),
        _within(rest_square, freedom),
    )


def _within(square: float, freedom: int) -> Component:
    """Return the component whose mean square is of itself alone."""
    low, high = stats.chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], freedom)
    total = square * freedom
    return Component(float(square), float(total / low), float(total / high))


def _between(
    square: float, freedom: int, rest: float, rest_freedom: int, each: int
) -> Component:
    """Return the component of a mean square of ``each`` values per level."""
    value = (square - rest) / each
    upper, lower = (1 + LEVEL) / 2, (1 - LEVEL) / 2
    ends = []
    for tail in (upper, lower):
        ratio = stats.f.ppf(tail, freedom, rest_freedom)
        total = freedom * (square - rest * ratio)
        ends.append(total / (each * stats.chi2.ppf(tail, freedom)))
    low, high = (max(0.0, float(end)) for end in ends)
    return Component(float(value), low, high)
