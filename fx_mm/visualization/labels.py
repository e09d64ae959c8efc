"""Labels of boxes, none over another and none beyond the edge."""

from collections.abc import Sequence

import cv2
import numpy as np

from fx_mm.visualization.text import (
    Color,
    Piece,
    fit_text,
    line_height,
    put_text,
    text_width,
)

Rect = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two excluded."""

COVERED = 0.4
"""Share of a picture that labels may take."""


def place_labels(
    boxes: Sequence[Rect],
    sizes: Sequence[tuple[int, int]],
    shape: tuple[int, int],
) -> list[Rect | None]:
    """Find a place for the label of each box.

    The best one is above the box and flush left; then, of the free ones, the
    nearest, over the box only if nothing else is as near.

    Args:
        boxes (Sequence[tuple]): The boxes, in the order in which their labels
            choose.
        sizes (Sequence[tuple]): Width and height of each label.
        shape (tuple[int]): Height and width of the picture.

    Returns:
        list[tuple | None]: Where each label goes; None if there is no room
        for it, or labels cover :data:`COVERED` of the picture.
    """
    height, width = shape
    room = COVERED * height * width
    taken: np.ndarray = np.zeros((0, 4), int)
    placed: list[Rect | None] = []
    for box, size in zip(boxes, sizes, strict=True):
        best = None
        if size[0] * size[1] <= room:
            best = _nearest(box, size, taken, shape)
        if best is not None:
            room -= size[0] * size[1]
            taken = np.vstack([taken, best])
        placed.append(best)
    return placed


def draw_labels(
    picture: np.ndarray, labels: Sequence[tuple[Rect, str, Color]]
) -> list[Piece]:
    """Write the label of each box onto a dark plate near it.

    A line leads from a label to a box that it does not touch.

    Args:
        picture (np.ndarray): uint8 RGB, shape (H, W, 3); changed in place.
        labels (Sequence[tuple]): Box, text and colour of each.

    Returns:
        list[tuple]: Texts and colours for which there is no room.
    """
    height, width = picture.shape[:2]
    texts = [fit_text(text, width) for _, text, _ in labels]
    # no place for a text of which nothing fits
    sizes = [(text_width(text) or width + 1, line_height()) for text in texts]
    boxes = [box for box, _, _ in labels]
    places = place_labels(boxes, sizes, (height, width))
    left_out: dict[Piece, int] = {}
    for place, (box, text, color) in zip(places, labels, strict=True):
        if place is None:
            left_out[text, color] = left_out.get((text, color), 0) + 1
        else:
            _lead(picture, place, box, color)
    for place, text, (_, _, color) in zip(places, texts, labels, strict=True):
        if place is not None:
            put_text(picture, text, place[:2], color, plate=True)
    return [
        (text if count == 1 else f'{text} ({count} times)', color)
        for (text, color), count in left_out.items()
    ]


def _nearest(
    box: Rect,
    size: tuple[int, int],
    taken: np.ndarray,
    shape: tuple[int, int],
) -> Rect | None:
    """Return the free place of least cost, if there is one."""
    left, top, right, bottom = box
    wide, high = size
    if wide > shape[1] or high > shape[0]:
        return None
    best = (left, top - high, left + wide, top)
    within = left >= 0 and top >= high and best[2] <= shape[1]
    if within and not _overlap(np.array([best]), taken).any():
        return best
    lefts = [left, right - wide]
    tops = [top - high, bottom, top, bottom - high]
    tops += [*taken[:, 3], *(taken[:, 1] - high)]
    # beside other labels too, where above and below them all is taken
    beside = [*lefts, *taken[:, 2], *(taken[:, 0] - wide)]
    for columns in (lefts, beside):
        x, y = np.meshgrid(
            np.unique(np.clip(columns, 0, shape[1] - wide)),
            np.unique(np.clip(tops, 0, shape[0] - high)),
        )
        corners = np.stack([x.ravel(), y.ravel()], 1)
        places = np.concatenate([corners, corners + size], 1)
        free = places[~_overlap(places, taken).any(1)]
        if len(free):
            x1, y1, x2, y2 = free[np.argmin(_cost(free, box))].tolist()
            return x1, y1, x2, y2
    return None


def _overlap(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return whether rectangles share a pixel, shape (n, m)."""
    a, b = ours[:, None], theirs[None]
    apart = (a[..., :2] >= b[..., 2:]) | (a[..., 2:] <= b[..., :2])
    return np.asarray(~apart.any(-1))


def _cost(places: np.ndarray, box: Rect) -> np.ndarray:
    """Return how far places are from the best one, shape (n,)."""
    left, top, right, bottom = box
    high = places[:, 3] - places[:, 1]
    away = np.abs(places[:, 0] - left) + np.abs(places[:, 1] - (top - high))
    over_x = np.minimum(places[:, 2], right) - np.maximum(places[:, 0], left)
    over_y = np.minimum(places[:, 3], bottom) - np.maximum(places[:, 1], top)
    return away + np.where(over_x > 0, np.maximum(over_y, 0), 0)


def _lead(picture: np.ndarray, place: Rect, box: Rect, color: Color) -> None:
    """Draw a line from a label to its box, if they are apart."""
    start, end = [], []
    for low, high, first, last in (
        (place[0], place[2] - 1, box[0], box[2] - 1),
        (place[1], place[3] - 1, box[1], box[3] - 1),
    ):
        # from the label's point that is nearest to the box, to the box
        near = min(max(first, low), high)
        start.append(near)
        end.append(min(max(near, first), max(first, last)))
    if max(abs(s - e) for s, e in zip(start, end)) > 1:
        cv2.line(picture, start, end, color, 1, cv2.LINE_AA)
