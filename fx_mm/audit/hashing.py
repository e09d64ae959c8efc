"""Perceptual hashes, made for images that all look alike.

A hash is the signs of the 256 lowest DCT coefficients of a thumbnail, each
compared with its median over all images: chest X-rays have most of the signs
in common, but each deviates from the typical one in its own way. The lowest
64 find similar images, the other 192 tell most of them apart.
"""

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fx_mm.audit.scan import THUMB

SIDE = 32
BITS = 256
WORD = 64
SAMPLE = 20000
"""Images from which the medians are taken."""
SHRINK = 100
"""Number of images at which medians count half; of few they mean nothing."""


class Variant(NamedTuple):
    """A change that a copy of an image may have gone through.

    Attributes:
        crop (tuple[float]): Shares cut off left, top, right, bottom.
        flip (bool): Whether left and right are exchanged, after the crop.
        invert (bool): Whether dark and light are exchanged.
    """

    crop: tuple[Any, ...] = (0.0, 0.0, 0.0, 0.0)
    flip: bool = False
    invert: bool = False

    @property
    def text(self) -> str:
        """str: For a reader."""
        words = [
            word
            for word, true in (
                ('mirrored', self.flip),
                ('inverted', self.invert),
            )
            if true
        ]
        return ', '.join(words)


CROPS = (
    (0.0, 0.0, 0.0, 0.0),
    (0.02, 0.02, 0.02, 0.02),
    (0.04, 0.04, 0.04, 0.04),
    (0.05, 0.0, 0.0, 0.0),
    (0.0, 0.05, 0.0, 0.0),
    (0.0, 0.0, 0.05, 0.0),
    (0.0, 0.0, 0.0, 0.05),
)


def variants(flip: bool = True, invert: bool = True) -> list[Variant]:
    """Return all variants, the image as it is first."""
    flips = (False, True) if flip else (False,)
    inversions = (False, True) if invert else (False,)
    return [
        Variant(crop, mirrored, inverted)
        for mirrored, inverted, crop in product(flips, inversions, CROPS)
    ]


def coefficients(
    thumbs: np.ndarray, crop: tuple[Any, ...] = CROPS[0]
) -> np.ndarray:
    """Describe thumbnails by their 256 lowest DCT coefficients.

    Args:
        thumbs (np.ndarray): uint8 (n, 64, 64).
        crop (tuple[float]): See :class:`Variant`.

    Returns:
        np.ndarray: float32 (n, 256), without the mean.
    """
    left, top, right, bottom = crop
    down, across = _area(top, bottom), _area(left, right)
    small = down @ (thumbs.astype(np.float32) @ across.T)
    even = normalised(small) + equalised(small)
    basis, rows, columns = _basis()
    return (basis @ even @ basis.T)[:, rows, columns]


def normalised(images: np.ndarray) -> np.ndarray:
    """Return each image mean 0 and deviation 1; float32 (n, H, W)."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    spread = np.sqrt((flat * flat).mean(1, keepdims=True))
    return (flat / np.maximum(spread, 1e-6)).reshape(images.shape)


def equalised(images: np.ndarray) -> np.ndarray:
    """Replace values by their ranks, so that windowing changes little.

    Args:
        images (np.ndarray): Values in 0..255, shape (n, H, W).

    Returns:
        np.ndarray: float32, mean 0, deviation 1.
    """
    count = len(images)
    values = np.rint(images.reshape(count, -1)).astype(np.int64)
    values += 256 * np.arange(count)[:, None]
    counts = np.bincount(values.ravel(), minlength=256 * count)
    counts = counts.reshape(count, 256)
    # the middle of those that share a value
    ranks = counts.cumsum(1) - counts / 2
    return normalised(ranks.ravel()[values].reshape(images.shape))


def changed(values: np.ndarray, variant: Variant) -> np.ndarray:
    """Return the coefficients of mirrored or inverted images."""
    _, _, columns = _basis()
    signs = np.ones(BITS, np.float32)
    if variant.flip:
        signs[columns % 2 == 1] = -1
    return values * (-signs if variant.invert else signs)


def thresholds(values: np.ndarray) -> np.ndarray:
    """Return the coefficients' medians, nearer to 0 the fewer images."""
    weight = len(values) / (len(values) + SHRINK)
    return np.median(values, axis=0) * weight


def pack(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Turn coefficients into hashes, uint64 (n, 4), lowest first."""
    bits = np.ascontiguousarray(np.packbits(values > limits, axis=1))
    return bits.view(np.uint64)


@cache
def _area(before: float, after: float) -> np.ndarray:
    """Matrix (32, 64) that averages what a crop leaves to 32 pixels."""
    edges = np.linspace(before * THUMB, (1 - after) * THUMB, SIDE + 1)
    pixel = np.arange(THUMB)
    weights = np.minimum(edges[1:, None], pixel + 1) - np.maximum(
        edges[:-1, None], pixel
    )
    weights = np.maximum(weights, 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


@cache
def _basis() -> tuple[Any, ...]:
    """DCT vectors (20, 32), and row and column of the 256 lowest."""
    pairs = sorted(
        (u * u + v * v, u, v) for u in range(20) for v in range(20) if u + v
    )[:BITS]
    rows, columns = np.array(pairs).T[1:]
    angles = np.outer(np.arange(20), 2 * np.arange(SIDE) + 1)
    basis = np.cos(np.pi * angles / (2 * SIDE)).astype(np.float32)
    return basis, rows, columns
