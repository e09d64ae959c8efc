"""Pixel values to 8-bit grey."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.errors import UnreadableError
from fx_mm.utils.errors import UserError

FEWEST_LEVELS = 8
MANY_LEVELS = 64
"""Fewer than 8 grey levels of more than 64 are no picture."""
NARROW = 16
"""Grey levels of 98 % of the pixels; fewer leave nothing to see."""
ENOUGH = 2**20
"""Pixels that tell how grey levels are spread."""
EXACT = 2**24
"""Up to here, float32 holds every whole number."""
TIGHT = 2**12
"""How many times its range a value may be that float32 is to map."""
HUGE = 1e35
"""Near the largest number that float32 holds."""


def to_grey(image: np.ndarray) -> np.ndarray:
    """Turn BGR or BGRA into luminance; grey stays as it is.

    Args:
        image (np.ndarray): Shape (H, W), (H, W, 3) or (H, W, 4).

    Returns:
        np.ndarray: Shape (H, W), same depth.
    """
    if image.ndim == 2:
        return image
    return cv2.cvtColor(
        np.ascontiguousarray(image[..., :3]), cv2.COLOR_BGR2GRAY
    )


def to_uint8(
    image: np.ndarray,
    decisions: Decisions,
    percentiles: Sequence[float] | None = None,
) -> np.ndarray:
    """Map the value range of a deeper image to 0..255; 8 bits stay.

    Args:
        image (np.ndarray): Any real dtype, shape (H, W).
        decisions (Decisions): Takes mapping, range and warnings.
        percentiles (Sequence[float], optional): See :func:`read_xray`.

    Returns:
        np.ndarray: uint8; a constant image becomes 0.

    Raises:
        UnreadableError: If there are values that are not finite.
    """
    if image.dtype == np.uint8:
        return image
    if not (np.isfinite(image.min()) and np.isfinite(image.max())):
        raise UnreadableError('has pixel values that are not finite')
    low, high = map_range(image, decisions, percentiles)
    mapped = stretch(image, low, high)
    warn_of_few_levels(image, mapped, decisions)
    return mapped


def map_range(
    values: np.ndarray,
    decisions: Decisions,
    percentiles: Sequence[float] | None = None,
) -> tuple[float, float]:
    """Choose what becomes 0 and 255, and note it; see :func:`value_range`."""
    low, high = value_range(values, percentiles)
    whole = percentiles is None or (low, high) == value_range(values)
    decisions.mapping = 'value range' if whole else 'percentiles'
    decisions.range = [low, high]
    return low, high


def sample(pixels: np.ndarray) -> np.ndarray:
    """Return all pixels, or evenly spaced ones if there are many."""
    return pixels.ravel()[:: pixels.size // ENOUGH * 2 + 1]


def warn_of_few_levels(
    values: np.ndarray, mapped: np.ndarray, decisions: Decisions
) -> None:
    """Warn if hardly any of many grey levels are left, or hardly used.

    Args:
        values (np.ndarray): Before.
        mapped (np.ndarray): uint8, after.
        decisions (Decisions): Takes the warning.
    """
    counts = np.bincount(sample(mapped), minlength=256)
    reached = np.cumsum(counts) / counts.sum()
    darkest, brightest = np.searchsorted(reached, (0.01, 0.99))
    few = np.count_nonzero(counts) < FEWEST_LEVELS
    if not few and brightest - darkest >= NARROW:
        return
    many = np.unique(values).size
    if many <= MANY_LEVELS:
        return
    left = np.unique(mapped).size
    if left < FEWEST_LEVELS:
        reason = f'Only {left} of {many} grey levels are left'
    elif brightest - darkest < NARROW:
        reason = (
            f'98 % of the pixels lie within {brightest - darkest + 1} of 256 '
            'grey levels'
        )
    else:
        return
    decisions.warn(
        'grey levels',
        f'{reason}, since a few pixels are far from the others; set '
        'percentiles=(0.5, 99.5) of LoadXray, or correct the file.',
    )


def value_range(
    values: np.ndarray, percentiles: Sequence[float] | None = None
) -> tuple[float, float]:
    """Return the lowest and highest value, or those of two percentiles.

    Returns:
        tuple[float, float]: Without percentiles, or where both percentiles
        are the same value, the whole range.
    """
    if percentiles is not None:
        low, high = np.percentile(values, percentiles)
        if low < high:
            return float(low), float(high)
    return float(values.min()), float(values.max())


def check_percentiles(percentiles: Sequence[float] | None) -> None:
    """Refuse what are not two percentiles.

    Raises:
        UserError: Says what would be right.
    """
    if percentiles is None:
        return
    try:
        low, high = percentiles
        if 0 <= low < high <= 100:
            return
    except (TypeError, ValueError):
        pass
    raise UserError(
        f'percentiles is {percentiles!r}; write two numbers from 0 to 100, '
        'the lower first, such as (0.5, 99.5).'
    )


def stretch(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high linearly to 0..255, rounded and clipped.

    Args:
        image (np.ndarray): Any real dtype.
        low (float): Value that becomes 0.
        high (float): Value that becomes 255.

    Returns:
        np.ndarray: uint8, same shape; 0 where ``high`` is not above ``low``.
    """
    if high <= low:
        return np.zeros(image.shape, np.uint8)
    scale = 255 / (high - low)
    largest = max(abs(low), abs(high))
    exact = image.dtype.itemsize <= 4 and largest < EXACT
    tight = largest > TIGHT * (high - low) and not exact
    number = np.float64 if tight or max(largest, scale) > HUGE else np.float32
    scaled: np.ndarray[Any, np.dtype[Any]] = image.astype(number)
    scaled -= number(low)
    scaled *= number(scale)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
