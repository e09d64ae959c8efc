"""Tiles of pictures: boxes, masks, bars of probabilities."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from fx_mm.utils.files import write_whole
from fx_mm.visualization.contact_sheet import (
    UNKNOWN,
    Box,
    color_of,
    draw_tile,
)
from fx_mm.visualization.text import (
    BACKGROUND,
    INK,
    Color,
    put_text,
    text_strip,
)

TRUTH: Color = (90, 220, 90)
PREDICTION: Color = (255, 165, 40)
SEAM = 4
"""Pixels between truth and prediction, fewer than between tiles."""


def save_picture(picture: np.ndarray, out_file: str | Path) -> Path:
    """Write a picture as PNG, making its folder.

    Args:
        picture (np.ndarray): uint8 RGB, shape (H, W, 3), or a single
            channel, shape (H, W).
        out_file (str | Path): Where to.

    Returns:
        Path: ``out_file``.

    Raises:
        OSError: If it cannot be written.
    """
    # Not cv2.imwrite: it fails without an exception.
    return write_whole(out_file, to_png(picture))


def to_png(picture: np.ndarray) -> bytes:
    """Return a picture as the bytes of a PNG file.

    Args:
        picture (np.ndarray): uint8 RGB or RGBA, shape (H, W, 3 or 4), or a
            single channel, shape (H, W).
    """
    if picture.ndim == 3:
        code = cv2.COLOR_RGB2BGR, cv2.COLOR_RGBA2BGRA
        picture = cv2.cvtColor(picture, code[picture.shape[2] == 4])
    return cv2.imencode('.png', picture)[1].tobytes()


def box_tile(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    scores: np.ndarray | None = None,
    size: int = 256,
) -> np.ndarray:
    """Draw boxes: orange with scores, green without.

    Args:
        image (np.ndarray): uint8 grey, shape (H, W).
        boxes (np.ndarray): x1, y1, x2, y2 in pixels, shape (n, 4).
        labels (np.ndarray): Class indices, shape (n,).
        classes (Sequence[str]): Class names.
        scores (np.ndarray, optional): Scores, shape (n,).
        size (int): Width of the tile. Defaults to 256.

    Returns:
        np.ndarray: uint8 RGB tile.
    """
    drawn: list[Box] = []
    for index, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        name, color = classes[int(label)], TRUTH
        if scores is not None:
            name, color = f'{name} {scores[index]:.2f}', PREDICTION
        x1, y1, x2, y2 = box.tolist()
        drawn.append((x1, y1, x2, y2, name, color))
    return draw_tile(image, boxes=drawn, size=size)


def mask_tile(
    image: np.ndarray,
    masks: np.ndarray,
    classes: Sequence[str],
    notes: Mapping[str, str] | None = None,
    size: int = 256,
    ignored: np.ndarray | None = None,
) -> np.ndarray:
    """Draw masks in one colour per class, a list of the classes below.

    Args:
        image (np.ndarray): uint8 grey, shape (H, W).
        masks (np.ndarray): bool, shape (C, H, W).
        classes (Sequence[str]): Class names.
        notes (Mapping[str, str], optional): Class name to what is written
            beside it; such a class is listed even if its mask is empty.
            Defaults to None: the classes present are listed by name.
        size (int): Width of the tile. Defaults to 256.
        ignored (np.ndarray, optional): bool, shape (1 or C, H, W): pixels
            that nobody annotated, striped in grey. Defaults to None.

    Returns:
        np.ndarray: uint8 RGB tile.
    """
    notes = notes or {}
    drawn, lines = [], []
    for name, mask in zip(classes, masks, strict=True):
        color, present = color_of(name, classes), mask.any()
        if present:
            drawn.append((mask, color))
        if present or name in notes:
            lines.append((f'{name} {notes.get(name, "")}'.strip(), color))
    if ignored is not None:
        lines.append(('ignored', UNKNOWN))
        ignored = np.asarray(ignored.any(0))
    return draw_tile(
        image,
        masks=drawn,
        caption_lines=[lines] if lines else [],
        size=size,
        ignored=ignored,
    )


def draw_probabilities(
    scores: np.ndarray,
    classes: Sequence[str],
    truth: np.ndarray | None = None,
    shape: tuple[int, int] = (256, 256),
) -> np.ndarray:
    """Draw a bar and a line of text for each class.

    With more classes than lines, the true ones and then the most probable
    ones are kept, in the order of the head.

    Args:
        scores (np.ndarray): Probabilities, shape (C,).
        classes (Sequence[str]): Class names.
        truth (np.ndarray, optional): 1, 0 or NaN (unknown), shape (C,).
        shape (tuple[int]): Height and width. Defaults to (256, 256).

    Returns:
        np.ndarray: uint8 RGB panel.
    """
    panel = np.full((*shape, 3), BACKGROUND, np.uint8)
    n_lines = max((shape[0] - 20) // 16, 0)
    heading = 'probability'
    if truth is not None:
        heading += ' (true: green)'
    if n_lines < len(classes):
        heading += f', {n_lines} of {len(classes)}'
    put_text(panel, heading, (4, 2), UNKNOWN)
    positive = np.zeros(len(classes), bool) if truth is None else truth == 1
    kept = sorted(np.lexsort((-scores, ~positive))[:n_lines])
    for line, index in enumerate(kept):
        top = 20 + 16 * line
        color = TRUTH if positive[index] else PREDICTION
        if truth is not None and np.isnan(truth[index]):
            color = UNKNOWN
        width = round(float(np.nan_to_num(scores[index])) * (shape[1] - 4))
        bar = panel[top : top + 14, 2 : 2 + width]
        bar[:] = np.array(color) // 3
        text = f'{scores[index]:.2f} {classes[index]}'
        if color == UNKNOWN:
            text += ' (unknown)'
        put_text(panel, text, (4, top), color)
    return panel


def caption_below(
    tile: np.ndarray, text: str, head: str, color: Color
) -> np.ndarray:
    """Add lines below: a coloured word, then text."""
    pieces = [(head, color), (text, INK)] if text else [(head, color)]
    return np.concatenate([tile, text_strip([pieces], tile.shape[1])])


def to_numpy(values: torch.Tensor) -> np.ndarray:
    """Copy a tensor to an array on the CPU."""
    return values.detach().cpu().numpy()


def side_by_side(
    truth: np.ndarray, prediction: np.ndarray, left: str, right: str
) -> np.ndarray:
    """Put the tiles of truth and prediction side by side, with captions.

    Args:
        truth (np.ndarray): Tile, uint8 RGB.
        prediction (np.ndarray): The same.
        left (str): Caption of the truth.
        right (str): Caption of the prediction.

    Returns:
        np.ndarray: uint8 RGB, as wide as both and a gap.
    """
    return pair_tiles(
        caption_below(truth, left, 'truth', TRUTH),
        caption_below(prediction, right, 'prediction', PREDICTION),
    )


def pair_tiles(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Put two tiles side by side, with a gap between."""
    height = max(left.shape[0], right.shape[0])
    width = left.shape[1] + SEAM + right.shape[1]
    pair = np.full((height, width, 3), BACKGROUND, np.uint8)
    pair[: left.shape[0], : left.shape[1]] = left
    pair[: right.shape[0], -right.shape[1] :] = right
    return pair
