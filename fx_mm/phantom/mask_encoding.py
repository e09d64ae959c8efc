"""Masks as text: run-length codes in their dialects, and polygons."""

import cv2
import numpy as np


def encode_runs(mask: np.ndarray, column_major: bool, relative: bool) -> str:
    """Write a mask as "start length start length ...".

    Args:
        mask (np.ndarray): bool, (height, width).
        column_major (bool): Whether pixels are counted down the columns;
            else along the rows.
        relative (bool): Whether a start is counted from the end of the run
            before (SIIM's dialect, which begins at 0); else it is the
            pixel's number, from 1 (Kaggle's common dialect).

    Returns:
        str: The code, empty for an empty mask.
    """
    flat = mask.ravel(order='F' if column_major else 'C').astype(np.int8)
    changes = np.diff(flat, prepend=0, append=0)
    starts, ends = np.flatnonzero(changes > 0), np.flatnonzero(changes < 0)
    if relative:
        first = starts - np.concatenate([[0], ends[:-1]])[: len(starts)]
    else:
        first = starts + 1
    code = np.stack([first, ends - starts], axis=1)
    return ' '.join(map(str, code.ravel().tolist()))


def outline(mask: np.ndarray) -> list[list[int]]:
    """Return the outer contour of a mask's largest component.

    Args:
        mask (np.ndarray): bool, (height, width), not empty.

    Returns:
        list[list[int]]: (x, y) of the pixels along the border, which lie
        inside the mask.
    """
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return max(contours, key=cv2.contourArea)[:, 0].tolist()
