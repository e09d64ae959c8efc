"""Whether the grey of a mask file is edges, or areas as of several classes."""

import cv2
import numpy as np

SOFT = 0.1
"""Part of the range within which a value still counts as black or white."""
MOST_GREY = 0.25
"""Share of the pixels between black and white above which it is a picture:
63 % and more of X-rays. Of images with a side below 128 pixels, whose edges
are a large part, twice as many."""
MOST_FLAT = 0.1
"""Share of the pixels between black and white that may lie in areas of one
value: edges have none, classes have little else."""
MOST_UNEVEN = 0.35
"""Share of the dark pixels besides the background that may lie in areas of
one value: 16 % at the most of what JPEGs leave, 80 % of classes."""


def is_soft(values: np.ndarray, found: np.ndarray, full: int) -> bool:
    """Return whether values are black and white with what lies between.

    Args:
        values (np.ndarray): Shape (H, W), not negative.
        found (np.ndarray): The distinct ones, ascending.
        full (int): White.
    """
    top, low = found[-1], found[0]
    if top <= full // 2 or low > SOFT * full or has_dark_areas(values, full):
        return False
    if ((found > SOFT * full) & (found < (1 - SOFT) * full)).any():
        # with a single value between black and white, that is another class
        return len(found) > 3 and has_edges(values, full)
    # what a JPEG leaves around black and white, saved as PNG
    bright = found[found >= (1 - SOFT) * full]
    return len(bright) > 1 or bright[0] != full


def has_edges(values: np.ndarray, full: int) -> bool:
    """Return whether grey pixels are edges, and not areas or a picture."""
    between = (values > SOFT * full) & (values < (1 - SOFT) * full)
    most = MOST_GREY * (2 if min(values.shape) < 128 else 1)
    if np.count_nonzero(between) > most * values.size:
        return False
    return _share_of_areas(values, between) <= MOST_FLAT


def has_dark_areas(values: np.ndarray, full: int) -> bool:
    """Return whether dark pixels are several areas of one value each.

    Such as the classes 1, 2 and 3, which a mask of one class has not. What a
    JPEG leaves around its edges is uneven.

    Args:
        values (np.ndarray): Shape (H, W), not negative.
        full (int): White.
    """
    dark = values <= SOFT * full
    each, counts = np.unique(values[dark], return_counts=True)
    if len(each) < 2:
        return False
    others = dark & (values != each[counts.argmax()])
    return _share_of_areas(values, others) > MOST_UNEVEN


def _share_of_areas(values: np.ndarray, where: np.ndarray) -> float:
    """Return which share of some pixels equals all of its neighbours."""
    plain = values.astype(np.float32)
    square = np.ones((3, 3), np.uint8)
    flat = where & (cv2.dilate(plain, square) == cv2.erode(plain, square))
    return np.count_nonzero(flat) / max(1, np.count_nonzero(where))
