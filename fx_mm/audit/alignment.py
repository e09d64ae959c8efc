"""Whether two thumbnails show the same image, moved, cropped, written on."""

import cv2
import numpy as np

from fx_mm.audit.thumbnails import (
    LEAST,
    THUMB,
    content_frame,
    equalised,
    normalised,
)

SAME = 0.7
"""Score from which two thumbnails show the same image.

Measured: different images at most 0.63 among the 5,100 most similar pairs of
1,000 phantoms of one hospital, 0.42 among the pairs of ten real X-rays; copies
of those ten and of 20 phantoms 0.81 or more after each change of
:data:`fx_mm.analysis.near_copies.CHANGES`.
"""
COARSELY, HALFWAY = 0.35, 0.72
"""Scores after coarser alignments below which they do not."""
COARSE, MIDDLE = THUMB // 4, THUMB // 2
SIGMA = 2.5
"""Details wider than this, in pixels, all chests share."""
WRITTEN = 5.0
"""Contrast of a detail, in parts of the usual, from which it is none of the
body, but a letter or the edge of a box."""
STROKE = 7
"""Side in pixels of what such a detail spoils."""
GLARING = 2.5
"""Contrast of a detail, in parts of the usual, that no more counts."""
NEAR = 17
"""Side in pixels of the neighbourhood in which details are compared."""
FAINT = 0.15
"""Contrast of details, in parts of the mean, that is none."""
EDGE = 11
"""Side in pixels of what shows the edge of a plain border."""
OVERLAP = 0.5
"""Share of the thumbnail that the two must have in common."""
_FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def similarity(
    a: np.ndarray, b: np.ndarray, invert: bool = True
) -> tuple[float, bool]:
    """Compare the details of two thumbnails after aligning them.

    An affine map (ECC; Evangelidis and Psarakis, PAMI 2008) lays ``b`` on
    ``a``, from coarse to fine. Details are compared in the neighbourhood of
    each pixel, and the median counts: what was written on an image, covered
    or cut off by windowing touches less than half of it, and ribs that lie
    alike by chance do so in a part of it.

    Args:
        a (np.ndarray): uint8 (128, 128).
        b (np.ndarray): uint8 (128, 128).
        invert (bool): Whether ``b`` may have dark and light exchanged.
            Defaults to True.

    Returns:
        tuple: Correlation, -1..1, 0 if they cannot be aligned; whether ``b``
        is inverted.
    """
    first, second = equalised(_small(a, COARSE)), equalised(_small(b, COARSE))
    inverted = invert and float((first * second).mean()) < 0
    if inverted:
        b, second = 255 - b, -second
    middle = _details(_small(a, MIDDLE)), _details(_small(b, MIDDLE))
    score, warp = _coarsely(first, second, *middle)
    if score < COARSELY:
        return 0.0, inverted
    warp = _aligned(*middle, warp, 20)
    inside = _inside(a), _inside(b)
    halved = _small(inside[0], MIDDLE), _small(inside[1], MIDDLE)
    if _agreement(*middle, *halved, warp) < HALFWAY:
        return 0.0, inverted
    fine = _details(a), _details(b)
    warp = _aligned(*fine, _doubled(warp), 10)
    return _agreement(*fine, *inside, warp), inverted


def _coarsely(
    a: np.ndarray,
    b: np.ndarray,
    details_a: np.ndarray,
    details_b: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Align coarse images; judge it by their details at twice the size.

    Where they begin is judged too: a box over a corner draws the coarse
    images apart.
    """
    best, warp = -1.0, np.eye(2, 3, dtype=np.float32)
    for start in _starts(details_a, details_b):
        for steps in (0, 30):
            found = _doubled(_aligned(a, b, start, steps) if steps else start)
            score = _correlation(details_a, details_b, found)
            if score > best:
                best, warp = score, found
            if best > HALFWAY:
                return best, warp
    return best, warp


def _small(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def _contrast(image: np.ndarray) -> np.ndarray:
    values = normalised(image[None])[0]
    fine: np.ndarray = values - cv2.GaussianBlur(values, (0, 0), SIGMA)
    return fine


def _usual(fine: np.ndarray) -> float:
    """Return the contrast of a detail, where there is one."""
    return float(np.percentile(np.abs(fine), 75))


def _details(image: np.ndarray) -> np.ndarray:
    """Return the details of an image, their local contrast evened out."""
    fine = _contrast(image)
    # letters and edges of boxes must not drown what is around them
    most = GLARING * _usual(fine) + 1e-6
    fine = fine.clip(-most, most)
    local = cv2.GaussianBlur(fine * fine, (0, 0), 2 * SIGMA)
    # where there is nothing, noise must not count as much as a rib
    return fine / np.sqrt(local + FAINT**2 * local.mean() + 1e-6)


def _starts(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Return where the alignment begins: at rest, and moved."""
    rest = np.eye(2, 3, dtype=np.float32)
    window = cv2.createHanningWindow((MIDDLE, MIDDLE), cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(a, b, window)
    if np.hypot(right, down) < 1 or max(abs(right), abs(down)) > MIDDLE / 4:
        return [rest]
    moved = rest.copy()
    moved[:, 2] = right * COARSE / MIDDLE, down * COARSE / MIDDLE
    return [rest, moved]


def _aligned(
    a: np.ndarray, b: np.ndarray, warp: np.ndarray, steps: int
) -> np.ndarray:
    """Return the affine map from pixels of ``a`` to those of ``b``."""
    limit = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-4
    try:
        # cv2 says that the mask is an array, and takes None for none
        _, found = cv2.findTransformECC(  # type: ignore[call-overload]
            a, b, warp.copy(), cv2.MOTION_AFFINE, limit, None, 3
        )
    except cv2.error:
        # It did not converge: compared where it began.
        return warp
    return found


def _doubled(warp: np.ndarray) -> np.ndarray:
    """Return the map for images of twice the size."""
    turned, shift = warp[:, :2], warp[:, 2]
    # centres of pixels are half a pixel from their corner
    half = turned.sum(1) / 2 - 0.5
    return np.column_stack([turned, 2 * shift + half]).astype(np.float32)


def _moved(b: np.ndarray, warp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay an image on the other; return it and where there is any of it."""
    size = b.shape[::-1]
    whole = cv2.warpAffine(np.ones_like(b), warp, size, flags=_FLAGS)
    return cv2.warpAffine(b, warp, size, flags=_FLAGS), whole > 0.99


def _correlation(a: np.ndarray, b: np.ndarray, warp: np.ndarray) -> float:
    """Return the correlation of two images where they overlap."""
    moved, inside = _moved(b, warp)
    if inside.mean() < OVERLAP:
        return -1.0
    a, b = a[inside], moved[inside]
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 1e-6 else 0.0


def _inside(image: np.ndarray) -> np.ndarray:
    """Mark what lies off plain borders and off letters; float32 0 or 1."""
    frame, marks = content_frame(image), np.zeros(image.shape, np.float32)
    marks[frame.top : frame.bottom, frame.left : frame.right] = 1
    # outside the picture there is no edge
    marks = cv2.erode(marks, np.ones((EDGE, EDGE)))
    fine = np.abs(_contrast(image))
    written = (fine > WRITTEN * _usual(fine)).astype(np.float32)
    return marks * (1 - cv2.dilate(written, np.ones((STROKE, STROKE))))


def _agreement(
    a: np.ndarray,
    b: np.ndarray,
    inside_a: np.ndarray,
    inside_b: np.ndarray,
    warp: np.ndarray,
) -> float:
    """Return the median correlation in the neighbourhoods of pixels."""
    inside = _moved(inside_b, warp)[0] * inside_a > 0.99
    if inside.mean() < LEAST**2:
        return 0.0
    a, b = a * inside, _moved(b, warp)[0] * inside
    around = [
        cv2.boxFilter(values, -1, (NEAR, NEAR))
        for values in (a * b, a * a, b * b)
    ]
    together, first, second = around
    # flat in both, such as air, says nothing; flat in one alone does
    told = inside & (np.maximum(first, second) > FAINT)
    if told.mean() < LEAST**2:
        return 0.0
    floor = FAINT * np.maximum(first, second)
    local = together / np.sqrt(
        np.maximum(first, floor) * np.maximum(second, floor)
    ).clip(1e-6)
    return float(np.median(local[told]))
