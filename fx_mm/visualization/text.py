"""Text on pictures, in any script that an installed font has."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Piece = tuple[str, Color]
"""A text and its RGB colour."""

SIZE = 11
"""Pixels of an em."""
ELLIPSIS = '…'
BACKGROUND = 24
"""Grey value behind tiles and text."""
INK: Color = (235, 235, 235)
_MARGIN = 2
_BETWEEN = 9
"""Pixels between the pieces of a paragraph."""
_REACH = 4
"""Pixels by which letters may reach over their width."""
_APART = re.compile(
    '[ -\u02ff\u0370-\u0482\u048a-\u058f\u2000-\u20cf\u2100-\u2bff'
    '\u2e80-\u3029\u3030-\u3098\u309b-\ud7ff]*'
)
"""Letters that look the same beside any other: no marks, none that join."""


def line_height(size: int = SIZE) -> int:
    """Return the pixels from one line of text to the next."""
    return math.ceil(1.3 * size)


def text_width(text: str, size: int = SIZE) -> int:
    """Return the pixels that a line of text takes."""
    return _width(printable(text), size)


@lru_cache(maxsize=4096)
def printable(text: str) -> str:
    """Return one line of what can be drawn.

    A line break becomes a blank, a letter that no installed font has its
    number (``<U+1F600>``), a byte of a file's name that is no text its
    escape.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.encode('utf-8', 'backslashreplace').decode()
    text = unicodedata.normalize('NFC', re.sub(r'\s', ' ', text))
    return ''.join(
        c if _font_file(c) else f'<U+{ord(c):04X}>'
        for c in text
        # no marks that turn the direction or join: the rest would look wrong
        if unicodedata.category(c) not in ('Cc', 'Cf')
    )


def font_families(texts: Iterable[str]) -> list[str]:
    """Return the names of fonts that have the letters, for matplotlib."""
    letters = dict.fromkeys(''.join(map(printable, texts)))
    files = dict.fromkeys([_font_files()[0], *map(_font_file, letters)])
    faces = [_face(file) for file in files if file]
    return [face.family_name for face in faces if face]


def fit_text(text: str, width: int, size: int = SIZE) -> str:
    """Shorten a text in its middle until it fits.

    Beginning and end stay: names of files differ at their ends, and scores
    stand there.

    Args:
        text (str): Any text.
        width (int): Pixels.
        size (int): Pixels of an em. Defaults to 11.

    Returns:
        str: Empty if not even an ellipsis fits.
    """
    return _fit(printable(text), width, size)


def wrap_text(text: str, width: int, size: int = SIZE) -> list[str]:
    """Break a text into lines at blanks, and words that are too long.

    Args:
        text (str): Any text.
        width (int): Pixels.
        size (int): Pixels of an em. Defaults to 11.

    Returns:
        list[str]: At least one line.
    """
    return list(_wrap(printable(text), width, size))


def put_text(
    canvas: np.ndarray,
    text: str,
    origin: tuple[int, int],
    color: Color,
    size: int = SIZE,
    plate: bool = False,
) -> int:
    """Write one line of text onto a picture.

    What does not fit between ``origin`` and the right edge is shortened.

    Args:
        canvas (np.ndarray): uint8 RGB, shape (H, W, 3); changed in place.
        text (str): Any text.
        origin (tuple[int]): x and y of its upper left corner, in pixels.
        color (tuple[int]): RGB.
        size (int): Pixels of an em. Defaults to 11.
        plate (bool): Whether it stands on a dark plate, and not on the
            picture. Defaults to False.

    Returns:
        int: x of its right end.
    """
    x, y = max(origin[0], 0), max(origin[1], 0)
    shown = fit_text(text, canvas.shape[1] - x, size)
    if not shown:
        return x
    ink = _plate(shown, color, size) if plate else _ink(shown, size)
    part = canvas[y : y + ink.shape[0], x : x + ink.shape[1]]
    ink = ink[: part.shape[0], : part.shape[1]]
    if plate:
        part[:] = ink
    else:
        inked = ink > 0
        part[inked] = _mix(part[inked], ink[inked], color)
    return x + part.shape[1]


def text_strip(
    paragraphs: Sequence[str | Sequence[Piece]], width: int
) -> np.ndarray:
    """Write lines of text, as many as it takes, onto a strip.

    Args:
        paragraphs (Sequence): Each begins a line: a text, or pieces of text
            with a colour each, which follow one another.
        width (int): Pixels.

    Returns:
        np.ndarray: uint8 RGB, shape (H, width, 3); H is 0 without
        paragraphs.
    """
    placed: list[tuple[str, int, int, Color]] = []
    line = -1
    for paragraph in paragraphs:
        pieces = (
            [(paragraph, INK)] if isinstance(paragraph, str) else paragraph
        )
        line, x = line + 1, _MARGIN
        for text, color in pieces:
            needed = text_width(text)
            if x > _MARGIN and x + needed > width:
                line, x = line + 1, _MARGIN
            lines = wrap_text(text, width - 2 * _MARGIN)
            for number, part in enumerate(lines):
                placed.append((part, x, line + number, color))
            line += len(lines) - 1
            x += text_width(lines[-1]) + _BETWEEN
    step = line_height()
    strip = np.full((step * (line + 1), width, 3), BACKGROUND, np.uint8)
    for text, x, number, color in placed:
        put_text(strip, text, (x, step * number), color, plate=True)
    return strip


@lru_cache(maxsize=4096)
def _fit(text: str, width: int, size: int) -> str:
    if _width(text, size) <= width:
        return text

    def shortened(kept: int) -> str:
        head, tail = (kept + 1) // 2, kept // 2
        return text[:head] + ELLIPSIS + text[len(text) - tail :]

    kept = _most(len(text), lambda n: _width(shortened(n), size) <= width)
    return shortened(kept) if kept >= 0 else ''


@lru_cache(maxsize=4096)
def _wrap(text: str, width: int, size: int) -> tuple[str, ...]:
    lines, line = [], ''
    for word in text.split(' '):
        longer = f'{line} {word}' if line else word
        if _width(longer, size) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while _width(line, size) > width and len(line) > 1:
            head = _head(line, width, size)
            lines.append(head)
            line = line[len(head) :]
    return (*lines, line)


def _head(text: str, width: int, size: int) -> str:
    """Return the longest beginning that fits, one letter at least."""
    kept = _most(len(text), lambda n: _width(text[:n], size) <= width)
    return text[: max(kept, 1)]


def _most(high: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number below ``high`` that fits, or -1."""
    low = -1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@lru_cache(maxsize=8192)
def _width(text: str, size: int) -> int:
    length = sum(_glyph(part, size)[1] for part in _parts(text))
    # letters may reach over their box by a pixel at either end
    return math.ceil(length) + 2 if text else 0


@lru_cache(maxsize=4096)
def _ink(text: str, size: int) -> np.ndarray:
    """Draw a line, uint8 (height of a line, width)."""
    # room for what reaches over the ends
    width = _width(text, size) + 2 * _REACH
    line = np.zeros((line_height(size), width), np.uint8)
    x = 1.0
    for part in _parts(text):
        glyph, advance = _glyph(part, size)
        left = round(x)
        place = line[:, left : left + glyph.shape[1]]
        np.maximum(place, glyph[:, : place.shape[1]], out=place)
        x += advance
    return line[:, _REACH:-_REACH]


@lru_cache(maxsize=1024)
def _plate(text: str, color: Color, size: int) -> np.ndarray:
    """Draw a line on its plate, uint8 RGB."""
    return np.take(_shades(color), _ink(text, size), axis=0)


@lru_cache
def _shades(color: Color) -> np.ndarray:
    """Return the colour of each strength of ink on a plate, (256, 3)."""
    ground = np.full((256, 3), BACKGROUND, np.uint8)
    return _mix(ground, np.arange(256), color)


def _mix(ground: np.ndarray, ink: np.ndarray, color: Color) -> np.ndarray:
    """Lay ink (n,) of a colour over pixels (n, 3)."""
    alpha = ink[:, None].astype(np.uint16)
    mixed = ground * (255 - alpha) + alpha * np.array(color, np.uint16)
    return ((mixed + 127) // 255).astype(np.uint8)


def _parts(text: str) -> list[str]:
    """Split a text into letters, or by font where its letters join.

    Pillow keeps no letter, and takes half a millisecond for a line.
    """
    if _APART.fullmatch(text):
        return list(text)
    return [''.join(run) for _, run in groupby(text, key=_font_file)]


@lru_cache(maxsize=4096)
def _glyph(part: str, size: int) -> tuple[np.ndarray, float]:
    """Draw a letter or a run with some pixels to either side.

    Returns:
        tuple: uint8 (height of a line, width), and where the next one begins.
    """
    font = _font(_font_file(part[0]), size)
    advance = font.getlength(part)
    width = math.ceil(advance) + 2 * _REACH
    image = Image.new('L', (width, line_height(size)))
    place = (_REACH, round(size))
    ImageDraw.Draw(image).text(place, part, fill=255, font=font, anchor='ls')
    return np.asarray(image), advance


@lru_cache
def _font(file: str | None, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file or _font_files()[0], size)


@cache
def _font_file(letter: str) -> str | None:
    """Find a font with a letter: matplotlib's DejaVu Sans, or another."""
    for file in _font_files():
        if letter == ' ' or _has(file, letter):
            return file
    return None


@lru_cache
def _font_files() -> tuple[str, ...]:
    own = Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')
    # upright letters of usual weight first
    fonts = sorted(
        font_manager.fontManager.ttflist,
        key=lambda font: (font.style != 'normal', font.weight != 400),
    )
    # the others of matplotlib are mathematics, and boxes for every letter
    others = [f.fname for f in fonts if Path(f.fname).parent != own.parent]
    return tuple(dict.fromkeys([str(own), *others]))


def _has(file: str, letter: str) -> bool:
    face = _face(file)
    return face is not None and face.get_char_index(ord(letter)) > 0


@cache
def _face(file: str) -> FT2Font | None:
    try:
        ImageFont.truetype(file, SIZE)
        return FT2Font(file)
    except (OSError, RuntimeError):
        return None  # bitmaps of another size, or a file that is gone
