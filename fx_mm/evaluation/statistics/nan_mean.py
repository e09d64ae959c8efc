"""Means of what is defined."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def nan_mean(
    values: ArrayLike, axis: int | tuple[int, ...] | None = None
) -> Any:
    """Return ``np.nanmean``, without its warning where nothing is defined.

    Args:
        values (ArrayLike): Numbers, NaN where undefined.
        axis (int | tuple[int], optional): Averaged over. Defaults to None:
            all values.

    Returns:
        float | np.ndarray: NaN where no value is defined.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Mean of empty slice')
        return np.nanmean(np.asarray(values, np.float64), axis=axis)
