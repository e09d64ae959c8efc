"""p-values of several comparisons that are read together."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import false_discovery_control


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values for the chance of any false claim (Holm 1979).

    Args:
        p_values (np.ndarray): (M,) without NaN.

    Returns:
        np.ndarray: (M,) at most 1, in the same order.
    """
    order = np.argsort(p_values, kind='stable')
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values for the share of false claims (BH 1995)."""
    return false_discovery_control(p_values, method='bh')


CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = dict(
    holm=holm, bh=benjamini_hochberg
)
NAMES = dict(holm='Holm', bh='Benjamini and Hochberg')


def adjust(p_values: Sequence[float], correction: str = 'holm') -> np.ndarray:
    """Adjust the p-values of comparisons that are read together.

    Args:
        p_values (Sequence[float]): (M,); undefined ones (NaN) are no
            comparison.
        correction (str): ``holm``: the chance that any of the claims is
            false stays below the level; ``bh`` (Benjamini and Hochberg): the
            expected share of false ones among the claims. Defaults to
            ``holm``.

    Returns:
        np.ndarray: (M,) adjusted p-values, NaN where undefined.
    """
    found = np.array(p_values, np.float64)
    defined = ~np.isnan(found)
    if defined.any():
        found[defined] = CORRECTIONS[correction](found[defined])
    return found
