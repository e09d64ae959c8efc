"""Contact sheets: images with their boxes, masks and captions in a grid."""

import zlib
from collections.abc import Sequence

import cv2
import numpy as np

from fx_mm.visualization.labels import draw_labels
from fx_mm.visualization.text import (
    BACKGROUND,
    INK,
    Color,
    Piece,
    put_text,
    text_strip,
)

Box = tuple[float, float, float, float, str, Color]

PALETTE: tuple[Color, ...] = (
    (230, 75, 60),
    (60, 180, 75),
    (70, 140, 245),
    (245, 190, 40),
    (190, 90, 220),
    (60, 205, 210),
    (245, 130, 48),
    (170, 220, 60),
    (240, 110, 190),
    (150, 160, 255),
    (255, 150, 140),
    (0, 170, 150),
    (255, 240, 120),
    (255, 80, 140),
    (140, 255, 190),
    (200, 160, 110),
    (160, 100, 255),
    (110, 190, 255),
    (185, 130, 75),
    (220, 190, 255),
)
"""Bright RGB colours that stay visible on a grey image."""

UNKNOWN: Color = (170, 170, 170)
"""What is not annotated."""
GAP = 10
"""Pixels between tiles."""
LISTED = 12
"""Labels that are listed below a tile whose image has no room for them."""
_HEAD = 26
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_TITLE = 14
"""Pixels of an em of a title."""


def color_of(name: str, names: Sequence[str] = ()) -> Color:
    """Return the colour of a class.

    Args:
        name (str): Class name.
        names (Sequence[str]): All class names; the position of ``name`` in
            it picks the colour. A name that is not in it gets a colour
            from its checksum, the same in every run.

    Returns:
        tuple[int]: RGB colour, 0 to 255.
    """
    names = list(names)
    index = names.index(name) if name in names else zlib.crc32(name.encode())
    return PALETTE[index % len(PALETTE)]


def line_color(index: int) -> tuple[float, ...]:
    """Return a colour of the palette, darker, for lines on white, 0 to 1."""
    return tuple(0.8 * v / 255 for v in PALETTE[index % len(PALETTE)])


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (width, height), as RGB."""
    if image.dtype != np.uint8:
        raise TypeError(f'images are drawn as uint8, not {image.dtype}')
    if image.ndim == 3:
        image = np.ascontiguousarray(image[..., :3])
    smaller = max(size) < max(image.shape[:2])
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    image = cv2.resize(image, size, interpolation=way)
    if image.ndim == 2:  # a third of the work, if last
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return image


def draw_tile(
    image: np.ndarray,
    boxes: Sequence[Box] = (),
    masks: Sequence[tuple[np.ndarray, Color]] = (),
    caption_lines: Sequence[str | Sequence[Piece]] = (),
    size: int = 256,
    ignored: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one image with its annotations into a square tile.

    The image keeps its aspect ratio; the rest of the square is dark. The
    caption is printed in a strip below, in as many lines as it takes, and so
    are labels of boxes for which the image has no room.

    Args:
        image (np.ndarray): uint8, shape (H, W) or (H, W, 3) in RGB.
        boxes (Sequence[tuple]): ``(x1, y1, x2, y2, label, color)`` in
            pixels of ``image``; ``label`` is a string ('' draws none),
            ``color`` an RGB triple.
        masks (Sequence[tuple]): ``(mask, color)`` with a boolean or uint8
            mask of shape (H, W); drawn as a contour with a faint filling.
        caption_lines (Sequence): Text below the image, see
            :func:`~fx_mm.visualization.text.text_strip`.
        size (int): Width of the tile and height of its image area, in
            pixels. Defaults to 256.
        ignored (np.ndarray, optional): Boolean mask of shape (H, W): pixels
            that nobody annotated; drawn as grey stripes. Defaults to None.

    Returns:
        np.ndarray: uint8 RGB tile, shape (size + 15 * lines of text, size, 3).
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    new_w, new_h = (max(1, round(v * scale)) for v in (width, height))
    picture = _resize(image, (new_w, new_h))

    def shrunk(mask: np.ndarray) -> np.ndarray:
        # by area, a lesion of one pixel does not vanish
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
        whole = np.asarray(mask, bool).view(np.uint8) * np.uint8(255)
        return cv2.resize(whole, (new_w, new_h), interpolation=way)

    if ignored is not None:
        area = shrunk(ignored) > 0
        stripes = np.add.outer(range(new_h), range(new_w)) % 8
        picture[area & (stripes < 2)] = UNKNOWN
        picture[area & (stripes == 2)] = BACKGROUND  # seen on grey too
    for mask, color in masks:
        inside = (shrunk(mask) > 0).view(np.uint8)
        inner = cv2.erode(inside, _CROSS, borderValue=0)
        plain = np.full_like(picture, color)
        tinted = cv2.addWeighted(picture, 0.85, plain, 0.15, 0)
        cv2.copyTo(tinted, inner, picture)
        cv2.copyTo(plain, cv2.subtract(inside, inner), picture)

    square = np.full((size, size, 3), BACKGROUND, np.uint8)
    above, before = (size - new_h) // 2, (size - new_w) // 2
    square[above : above + new_h, before : before + new_w] = picture
    labels = []
    for x1, y1, x2, y2, label, color in boxes:
        if not np.isfinite([x1, y1, x2, y2]).all():
            continue  # of a model that diverged
        left, right = (before + _pixel(x * scale, new_w) for x in (x1, x2))
        top, bottom = (above + _pixel(y * scale, new_h) for y in (y1, y2))
        cv2.rectangle(square, (left, top), (right, bottom), color, 1)
        if label:
            box = (left, top, right + 1, bottom + 1)
            labels.append((box, label, color))
    left_out = draw_labels(square, labels)
    shown = left_out[:LISTED]
    if len(left_out) > LISTED:
        shown.append((f'and {len(left_out) - LISTED} more', INK))
    paragraphs = [*caption_lines, *([shown] if shown else [])]
    return np.concatenate([square, text_strip(paragraphs, size)])


def _pixel(value: float, length: int) -> int:
    """Return the nearest pixel within the picture."""
    return min(max(round(value), 0), length - 1)


def make_grid(
    tiles: Sequence[np.ndarray], columns: int, title: str = ''
) -> np.ndarray:
    """Arrange tiles row by row.

    Args:
        tiles (Sequence[np.ndarray]): uint8 RGB tiles; they may differ in
            size: columns are as wide as the widest, each row as high as its
            highest.
        columns (int): Tiles per row.
        title (str): Text above the grid. Defaults to none.

    Returns:
        np.ndarray: uint8 RGB sheet, shape (H, W, 3).

    Raises:
        ValueError: Without tiles or columns.
    """
    if not tiles or columns < 1:
        raise ValueError('a contact sheet needs a tile and a column')
    columns = min(columns, len(tiles))
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    cell_w = max(tile.shape[1] for tile in tiles) + GAP
    head = _HEAD if title else GAP
    sheet = np.full(
        (head + sum(heights) + GAP * len(rows), GAP + columns * cell_w, 3),
        BACKGROUND,
        np.uint8,
    )
    if title:
        put_text(sheet[:, :-GAP], title, (GAP, 5), INK, _TITLE)
    top = head
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = GAP + column * cell_w
            part = sheet[top:, left:]
            part[: tile.shape[0], : tile.shape[1]] = tile
        top += height + GAP
    return sheet
