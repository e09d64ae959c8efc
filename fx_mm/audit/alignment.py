"""Whether two thumbnails show the same image, cropped or shifted or not."""

import cv2
import numpy as np

from fx_mm.audit.hashing import Variant, equalised, normalised
from fx_mm.audit.scan import THUMB

SAME = 0.9
"""Score from which two thumbnails show the same image.

Measured on thumbnails of 64x64 pixels. Different images: at most 0.87 among
58 million pairs of 10,800 phantoms, 0.73 among the 45 pairs of ten real
X-rays, 0.84 among the 630 pairs of 36 phantoms with equal bars, of a tenth to
a quarter on two sides. Copies of the ten and of 32 phantoms: 0.94 or more when
reduced to half the size, saved as JPEG of quality 20, darkened (gamma 1.6),
windowed at the 10th and 90th percentile, noisy, blurred, rotated by 2 degrees,
cropped by 2 to 5 % on each side, mirrored or inverted; 0.87 or more when local
contrast was raised (CLAHE), a border added, or bright or dark parts cut off by
windowing at the 20th and 80th percentile: of those, some are missed.
"""
SIGMA = 3.0
"""Details wider than this, in pixels of the thumbnail, all chests share."""
PLAIN = 3
"""Grey values that a row or column of a plain border spans at most."""
NEAR = 9
"""Pixels around the edge of a plain border that show the edge."""
_STEPS = (
    cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT,
    30,
    1e-4,
)


def similarity(
    a: np.ndarray, b: np.ndarray, variant: Variant | None = None
) -> float:
    """Compare the details of two thumbnails after aligning them.

    An affine map (ECC; Evangelidis and Psarakis, PAMI 2008) lays ``b`` on
    ``a``. Compared are details, since the coarse look is that of any chest:
    once with the local contrast evened out and once with values replaced by
    their ranks; the better counts.

    Args:
        a (np.ndarray): uint8 (64, 64).
        b (np.ndarray): uint8 (64, 64).
        variant (Variant, optional): Flips or inverts ``b`` first. Its crop
            is where the alignment begins.

    Returns:
        float: Correlation, -1..1; 0 if they cannot be aligned.
    """
    variant = variant or Variant()
    if variant.flip:
        b = b[:, ::-1]
    if variant.invert:
        b = 255 - b
    pair = np.stack([a, b])
    plain, ranked = normalised(pair), equalised(pair)
    mixed = (plain + ranked) / 2
    warp = _start(variant)
    try:
        # cv2 says that the mask is an array, and takes None for none
        _, warp = cv2.findTransformECC(  # type: ignore[call-overload]
            mixed[0], mixed[1], warp, cv2.MOTION_AFFINE, _STEPS, None, 3
        )
    except cv2.error:
        # It did not converge: compared where it began.
        warp = _start(variant)
    size = (THUMB, THUMB)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    whole = cv2.warpAffine(np.ones(size, np.float32), warp, size, flags=flags)
    inside: np.ndarray = (
        cv2.erode(whole, np.ones((5, 5)), borderValue=0) > 0.99
    )
    if inside.mean() < 0.5:
        return 0.0
    border = cv2.warpAffine(_plain_border(b), warp, size, flags=flags)
    border = np.minimum(_plain_border(a), border)
    inside &= cv2.dilate(border, np.ones((NEAR, NEAR))) < 0.5
    if inside.mean() < 0.1:
        return 0.0
    scores = []
    for images, even in ((plain, True), (ranked, False)):
        moved = cv2.warpAffine(images[1], warp, size, flags=flags)
        first, second = (_details(i, even) for i in (images[0], moved))
        scores.append(_correlation(first[inside], second[inside]))
    return max(scores)


def _start(variant: Variant) -> np.ndarray:
    """Map a pixel of ``a`` to its place in an uncropped ``b``."""
    left, top, right, bottom = variant.crop
    if variant.flip:
        left, right = right, left
    return np.array(
        [
            [1 - left - right, 0, left * THUMB],
            [0, 1 - top - bottom, top * THUMB],
        ],
        np.float32,
    )


def _plain_border(image: np.ndarray) -> np.ndarray:
    """Mark the plain rows and columns at the edges; float32 0 or 1."""
    border = np.ones(image.shape, np.float32)
    rows, columns = (
        (np.ptp(image, axis=axis) > PLAIN).nonzero()[0] for axis in (1, 0)
    )
    if len(rows):
        filled = (
            slice(rows[0], rows[-1] + 1),
            slice(columns[0], columns[-1] + 1),
        )
        border[filled] = 0
    return border


def _details(image: np.ndarray, even: bool) -> np.ndarray:
    fine: np.ndarray = image - cv2.GaussianBlur(image, (0, 0), SIGMA)
    if not even:
        return fine
    local = cv2.GaussianBlur(fine * fine, (0, 0), 1.5 * SIGMA)
    # Where there is nothing, noise must not count as much as a rib.
    return fine / np.sqrt(local + 0.02 * local.mean() + 1e-6)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 1e-6 else 0.0
