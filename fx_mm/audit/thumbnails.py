"""Thumbnails: what is kept of an image's pixels, and where its content is."""

from typing import NamedTuple

import cv2
import numpy as np

THUMB = 128
"""Side of a thumbnail in pixels."""
PLAIN = 6
"""Grey values that the pixels of a plain row span at most."""
FEW = 0.1
"""Share of a plain row's pixels that may lie outside: a letter on it."""
LEAST = 0.3
"""Share of the side that content must fill; less is no content."""


class Frame(NamedTuple):
    """Rows and columns of a thumbnail that hold content, ends exclusive."""

    top: int = 0
    bottom: int = THUMB
    left: int = 0
    right: int = THUMB

    @property
    def enough(self) -> bool:
        """bool: Whether there is something to compare."""
        sides = self.bottom - self.top, self.right - self.left
        return min(sides) >= LEAST * THUMB

    def cut(self, thumb: np.ndarray, size: int = THUMB) -> np.ndarray:
        """Return the content, stretched to a square of ``size`` pixels."""
        part = thumb[self.top : self.bottom, self.left : self.right]
        if part.shape == (size, size):
            return part
        shrinks = min(part.shape) >= size
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(part, (size, size), interpolation=way)


WHOLE = Frame()


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Reduce an image to 128x128 pixels, stretched to 0..255."""
    small = cv2.resize(
        image.astype(np.float32), (THUMB, THUMB), interpolation=cv2.INTER_AREA
    )
    # cv2 says that dst is an array, and takes None for a new one
    return cv2.normalize(  # type: ignore[call-overload]
        small, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U
    )


def content_frame(thumb: np.ndarray) -> Frame:
    """Find the content of a thumbnail: all but the plain borders.

    A letterbox, padding and the edge that a shift leaves are plain: nearly
    all pixels of a row or column have one value. They are removed side by
    side until none is left, since a border may have a border.

    Args:
        thumb (np.ndarray): uint8 (128, 128).

    Returns:
        Frame: Of a plain thumbnail, an empty one.
    """
    top, bottom, left, right = WHOLE
    while top < bottom and left < right:
        part = thumb[top:bottom, left:right]
        up, down = _plain_ends(part)
        before, after = _plain_ends(part.T)
        if not (up or down or before or after):
            break
        top, bottom = top + up, bottom - down
        left, right = left + before, right - after
    return Frame(top, bottom, left, right)


def _plain_ends(part: np.ndarray) -> tuple[int, int]:
    """Return the numbers of plain rows at the top and at the bottom."""
    values = np.sort(part, axis=1)
    most = round((1 - FEW) * (part.shape[1] - 1))
    spans = values[:, most:] - values[:, : part.shape[1] - most]
    plain = spans.min(1) <= PLAIN
    if plain.all():
        return len(plain), 0
    return int(plain.argmin()), int(plain[::-1].argmin())


def normalised(images: np.ndarray) -> np.ndarray:
    """Return each image mean 0 and deviation 1; float32 (n, H, W)."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    spread = np.sqrt((flat * flat).mean(1, keepdims=True))
    return (flat / np.maximum(spread, 1e-6)).reshape(images.shape)


def equalised(image: np.ndarray) -> np.ndarray:
    """Replace values by their ranks, so that windowing changes little.

    Args:
        image (np.ndarray): uint8 (H, W).

    Returns:
        np.ndarray: float32 (H, W), mean 0, deviation 1.
    """
    counts = np.bincount(image.ravel(), minlength=256)
    # the middle of those that share a value
    ranks = counts.cumsum() - counts / 2
    return normalised(ranks[image][None])[0]
