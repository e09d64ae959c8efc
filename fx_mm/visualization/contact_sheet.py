"""Contact sheets: images with their boxes, masks and captions in a grid."""

import zlib
from collections.abc import Sequence

import cv2
import numpy as np

Color = tuple[int, int, int]
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
)
"""Bright RGB colours that stay visible on a grey image."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE_HEIGHT = 15
_GAP = 6
BACKGROUND = 24
_INK = (235, 235, 235)


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


def put_text(
    canvas: np.ndarray,
    text: str,
    origin: tuple[int, int],
    color: Color,
    scale: float = 0.4,
    outline: bool = False,
) -> None:
    """Write one line of text onto a picture.

    Args:
        canvas (np.ndarray): uint8 RGB, shape (H, W, 3); changed in place.
        text (str): What is not ASCII becomes a question mark.
        origin (tuple[int]): x and y of its lower left corner, in pixels.
        color (tuple[int]): RGB.
        scale (float): Size of the font. Defaults to 0.4.
        outline (bool): Whether letters have a dark edge. Defaults to False.
    """
    # The built-in fonts of OpenCV draw ASCII only.
    text = text.encode('ascii', 'replace').decode()
    if outline:
        cv2.putText(
            canvas, text, origin, FONT, scale, (0, 0, 0), 3, cv2.LINE_AA
        )
    cv2.putText(canvas, text, origin, FONT, scale, color, 1, cv2.LINE_AA)


def _fit_text(text: str, width: int, scale: float = 0.4) -> str:
    """Shorten a text to ``width`` pixels, ending in two dots."""
    if cv2.getTextSize(text, FONT, scale, 1)[0][0] <= width:
        return text
    while text and (
        cv2.getTextSize(text + '..', FONT, scale, 1)[0][0] > width
    ):
        text = text[:-1]
    return text + '..'


def _to_rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        raise TypeError(f'images are drawn as uint8, not {image.dtype}')
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(image[..., :3])


def draw_tile(
    image: np.ndarray,
    boxes: Sequence[Box] = (),
    masks: Sequence[tuple[np.ndarray, Color]] = (),
    caption_lines: Sequence[str] = (),
    size: int = 256,
) -> np.ndarray:
    """Draw one image with its annotations into a square tile.

    The image keeps its aspect ratio; the rest of the square is dark. The
    caption is printed in a strip below, one line of 15 pixels each.

    Args:
        image (np.ndarray): uint8, shape (H, W) or (H, W, 3) in RGB.
        boxes (Sequence[tuple]): ``(x1, y1, x2, y2, label, color)`` in
            pixels of ``image``; ``label`` is a string ('' draws none),
            ``color`` an RGB triple.
        masks (Sequence[tuple]): ``(mask, color)`` with a boolean or uint8
            mask of shape (H, W); drawn as a contour with a faint filling.
        caption_lines (Sequence[str]): Lines of text below the image.
        size (int): Width of the tile and height of its image area, in
            pixels. Defaults to 256.

    Returns:
        np.ndarray: uint8 RGB tile, shape
        (size + 15 * len(caption_lines), size, 3).
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    new_w, new_h = (max(1, round(v * scale)) for v in (width, height))
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(_to_rgb(image), (new_w, new_h), interpolation=shrink)

    for mask, color in masks:
        small = cv2.resize(
            np.asarray(mask, dtype=np.uint8),
            (new_w, new_h),
            interpolation=cv2.INTER_NEAREST,
        )
        inside = small > 0
        picture[inside] = (
            0.85 * picture[inside] + 0.15 * np.array(color)
        ).astype(np.uint8)
        outlines, _ = cv2.findContours(
            small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        cv2.drawContours(picture, outlines, -1, color, 1, cv2.LINE_AA)

    for x1, y1, x2, y2, label, color in boxes:
        left, top, right, bottom = (
            int(round(v * scale)) for v in (x1, y1, x2, y2)
        )
        cv2.rectangle(picture, (left, top), (right, bottom), color, 1)
        if label:
            text = _fit_text(label, new_w - 2)
            text_w = cv2.getTextSize(text, FONT, 0.4, 1)[0][0]
            left = max(0, min(left, new_w - text_w - 1))
            put_text(picture, text, (left, max(top - 3, 10)), color)

    tile = np.full(
        (size + _LINE_HEIGHT * len(caption_lines), size, 3),
        BACKGROUND,
        np.uint8,
    )
    top, left = (size - new_h) // 2, (size - new_w) // 2
    tile[top : top + new_h, left : left + new_w] = picture
    for row, line in enumerate(caption_lines):
        baseline = size + _LINE_HEIGHT * row + 11
        put_text(tile, _fit_text(line, size - 4), (2, baseline), _INK)
    return tile


def make_grid(
    tiles: Sequence[np.ndarray], columns: int, title: str = ''
) -> np.ndarray:
    """Arrange tiles row by row.

    Args:
        tiles (Sequence[np.ndarray]): uint8 RGB tiles; they may differ in
            size, each cell takes the largest.
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
    rows = -(-len(tiles) // columns)
    cell_h = max(tile.shape[0] for tile in tiles) + _GAP
    cell_w = max(tile.shape[1] for tile in tiles) + _GAP
    head = 26 if title else _GAP
    sheet = np.full(
        (head + rows * cell_h, _GAP + columns * cell_w, 3),
        BACKGROUND,
        np.uint8,
    )
    if title:
        text = _fit_text(title, sheet.shape[1] - 2 * _GAP, 0.5)
        put_text(sheet, text, (_GAP, 18), _INK, 0.5)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top, left = head + row * cell_h, _GAP + column * cell_w
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
