"""Boxes around masks."""

from collections.abc import Sequence

import cv2
import numpy as np

from fx_mm.preparation.raw_dataset import BoxPer


def boxes_around(
    pieces: Sequence[np.ndarray], box_per: BoxPer
) -> list[tuple[int, int, int, int]]:
    """Return the boxes around a class's mask.

    Args:
        pieces (Sequence[np.ndarray]): bool (H, W), whose union is the mask.
        box_per (str): One box per ``piece``, per ``component`` (connected
            region, 8 neighbours, of the union) or for the ``class``.

    Returns:
        list[tuple[int]]: (x1, y1, x2, y2) in pixels; x2 and y2 are the first
        column and row behind. Pieces without a pixel have none.
    """
    if box_per == 'piece':
        found = [_box_around(piece) for piece in pieces]
        return [box for box in found if box is not None]
    if not len(pieces):
        return []
    union = np.logical_or.reduce(pieces)
    if box_per == 'class':
        box = _box_around(union)
        return [] if box is None else [box]
    stats = cv2.connectedComponentsWithStats(
        union.astype(np.uint8), connectivity=8
    )[2]
    return [
        (int(x), int(y), int(x + w), int(y + h)) for x, y, w, h, _ in stats[1:]
    ]


def _box_around(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return None
    rows = np.flatnonzero(mask.any(axis=1))
    return (
        int(columns[0]),
        int(rows[0]),
        int(columns[-1]) + 1,
        int(rows[-1]) + 1,
    )
