"""Descriptors of thumbnails: near to each other for copies of an image.

Histograms of the orientations of edges on a coarse grid (HOG; Dalal and
Triggs, CVPR 2005), each cell made independent of its contrast. Orientations
are those of lines, without a sign, so that an inverted image has the same.
Mirroring and quarter turns permute the values. All chests have most of a
descriptor in common; :class:`Space` looks at where those of a collection
differ.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

SIDE = 64
GRID = 8
BINS = 8
"""Orientations, a multiple of 4 so that a quarter turn permutes them."""
LENGTH = GRID * GRID * BINS
DIMS = 96
"""Directions that are kept of a collection's descriptors."""
SHRINK = 100
"""Number of images at which their mean counts half; of few it means little."""
PRIOR, FLOOR = 0.05, 0.005
"""Variance in each direction that no images have shown, and that many have:
seldom or never seen differences must not count beyond measure."""
FAINT = 0.3
"""Contrast, in parts of the image's mean, below which a cell says little."""


class Variant(NamedTuple):
    """A change that a copy of an image may have gone through.

    Attributes:
        turns (int): Quarter turns counter-clockwise, after mirroring.
        mirror (bool): Whether left and right are exchanged.
    """

    turns: int = 0
    mirror: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return a changed image (H, W)."""
        if self.mirror:
            image = image[:, ::-1]
        return np.ascontiguousarray(np.rot90(image, self.turns))

    @property
    def text(self) -> str:
        """str: For a reader."""
        turned = ('', 'turned by 90 degrees', 'upside down')
        words = ['mirrored'] * self.mirror
        words += [turned[min(self.turns, 4 - self.turns)]] * bool(self.turns)
        return ', '.join(words)


def variants(flip: bool = True) -> list[Variant]:
    """Return all variants, the image as it is first."""
    mirrors = (False, True) if flip else (False,)
    return [Variant(turns, m) for m, turns in product(mirrors, range(4))]


def describe(images: np.ndarray) -> np.ndarray:
    """Describe images by their edges.

    Args:
        images (np.ndarray): uint8 (n, 64, 64).

    Returns:
        np.ndarray: float32 (n, 512), values 0..1.
    """
    wide = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1)), 'edge')
    right = wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]
    down = wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]
    strength = np.hypot(right, down)
    angle = np.arctan2(down, right) * np.float32(BINS / np.pi)
    pool = _pool()
    cells = np.empty((len(images), GRID, GRID, BINS), np.float32)
    half = BINS / 2
    for number in range(BINS):
        away = np.abs((angle - (number - half)) % BINS - half)
        share = np.maximum(1 - away, 0) * strength
        cells[..., number] = pool @ share @ pool.T
    total = cells.sum(-1, keepdims=True)
    floor = FAINT * total.mean((1, 2), keepdims=True) + 1e-3
    return np.sqrt(cells / (total + floor)).reshape(-1, LENGTH)


def changed(values: np.ndarray, variant: Variant) -> np.ndarray:
    """Return the descriptors of mirrored or turned images."""
    return values[:, _order(variant)]


class Space:
    """The directions in which the images of a collection differ.

    Principal components of their descriptors, the less common ones raised
    (partly whitened): what all images of a hospital vary in says little
    about which image it is.

    Args:
        values (np.ndarray): Descriptors of some of the images, (n, 512).
    """

    def __init__(self, values: np.ndarray) -> None:
        weight = len(values) / (len(values) + SHRINK)
        self._mean = values.mean(0) * weight
        centred = values - self._mean
        spread = centred.T @ centred / len(values) * weight
        # as if some further images differed in all directions alike
        spread += np.eye(LENGTH) * (PRIOR * (1 - weight) + FLOOR)
        size, axes = np.linalg.eigh(spread)
        scale = 1 / np.sqrt(size[-DIMS:])
        self._axes = (axes[:, -DIMS:] * scale).astype(np.float32)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return unit vectors, float32 (n, 96), whose products tell."""
        found = (values - self._mean) @ self._axes
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.maximum(length, 1e-9)).astype(np.float32)


@cache
def _pool() -> np.ndarray:
    """Matrix (8, 64) of overlapping triangles that sum up pixels."""
    step = SIDE / GRID
    centres = (np.arange(GRID) + 0.5) * step
    away = np.abs(np.arange(SIDE) + 0.5 - centres[:, None])
    return np.maximum(1 - away / step, 0).astype(np.float32)


@cache
def _order(variant: Variant) -> np.ndarray:
    """Where the values of a changed image's descriptor stand in its own."""
    places: np.ndarray = np.arange(LENGTH).reshape(GRID, GRID, BINS)
    bins = np.arange(BINS)
    if variant.mirror:
        places = places[:, ::-1, -bins % BINS]
    turned = np.rot90(places, variant.turns)
    return turned[..., (bins + BINS // 2 * variant.turns) % BINS].reshape(-1)
