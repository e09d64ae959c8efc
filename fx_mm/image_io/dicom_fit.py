"""Whether a window or VOI LUT of a DICOM fits its pixels.

It is compared with the value range: a picture of few values, or of which most
is background, is not the mapping's fault.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.dicom_luts import Histogram
from fx_mm.image_io.pixels import FEWEST_LEVELS, MANY_LEVELS, stretch

Transform = Callable[[np.ndarray], np.ndarray]
CLIPPED = 0.9
"""Share of black and white pixels with which a window does not fit."""
CUT_OFF = 0.8
"""Share of one end with which a window does not fit, of the pixels between
the frame's or the air's values and a letter's."""
EDGE = 16
"""Grey levels next to either end of the value range that are such values."""
LEFT_OVER = 2
"""A window from below the pixels that they exceed so many times may be of
fewer bits than they have, ..."""
LEFT_OVER_WHITE = 0.5
"""... does not fit if it makes more than this share of them white, ..."""
LEFT_OVER_DOUBT = 0.25
"""... and is warned of from this one on."""
X_RAYS = ('CR', 'DR', 'DX', 'RG', 'XR')
"""Modalities whose windows show most of the picture, unlike a CT's, ..."""
ONE_END = 0.5
"""... so that more than this share of one end is worth a warning."""
FEWER = 3
"""A window with so many times less contrast than the value range does not
fit."""
FEW_OF_MANY = 8
MANY = 64
"""Grey levels from which on an eighth of them is few."""


class Display(NamedTuple):
    """A way to 8 bits that the file asks for.

    Attributes:
        kind (str): ``window`` or ``VOI LUT``.
        name (str): What messages call it.
        range (tuple[float]): What becomes the darkest and the brightest.
        apply (Callable): Values to uint8.
    """

    kind: str
    name: str
    range: tuple[float, float]
    apply: Transform


def find_misfit(mapping: Display, inputs: Histogram) -> str | None:
    """Return why a mapping does not suit the pixels; None if it does.

    It is compared with the value range: a picture of few values, or of which
    most is background, is not the mapping's fault.
    """
    values, shares = inputs
    plain = _plain(values)
    mapped = mapping.apply(values)
    clipped, clipped_plain = (
        float(shares[(image == 0) | (image == 255)].sum())
        for image in (mapped, plain)
    )
    levels, levels_plain = (np.unique(image).size for image in (mapped, plain))
    contrast, contrast_plain = (
        np.subtract(*_quantiles(image, shares)) for image in (mapped, plain)
    )
    if clipped >= CLIPPED and clipped_plain < 0.5:
        return f'{clipped:.0%} of them would be black or white'
    ends = [(0, 'black', CUT_OFF), (255, 'white', CUT_OFF)]
    if share_left_over(mapping, inputs):
        ends[1] = (255, 'white', LEFT_OVER_WHITE)
    for end, word, most in ends:
        share = _share_cut_off(end, mapped, inputs)
        if share > most and levels_plain >= MANY:
            return f'{share:.0%} of those not at the ends would be {word}'
    few = clipped >= 0.5 and levels * FEW_OF_MANY < levels_plain
    lost = levels < FEWEST_LEVELS <= levels_plain
    if (
        contrast * FEWER < contrast_plain
        or (few and levels_plain >= MANY)
        or (lost and values.size > MANY_LEVELS)
    ):
        return f'{levels} of {levels_plain} grey levels would be left'
    return None


def _plain(values: np.ndarray) -> np.ndarray:
    return stretch(values, float(values.min()), float(values.max()))


def _share_cut_off(end: int, mapped: np.ndarray, inputs: Histogram) -> float:
    """Return which share of pixels becomes one end.

    Pixels near the ends of the value range are not counted: collimation and
    air on one side, as much as half of a good X-ray, and letters on the
    other, whichever side the file has them on.
    """
    plain = _plain(inputs.values)
    inner = (plain >= EDGE) & (plain <= 255 - EDGE)
    total = float(inputs.shares[inner].sum())
    cut_off = float(inputs.shares[inner & (mapped == end)].sum())
    return cut_off / total if total else 0.0


def warn_of_one_end(
    mapping: Display, inputs: Histogram, decisions: Decisions
) -> None:
    """Warn of a mapping that makes most of an X-ray black or white."""
    mapped = mapping.apply(inputs.values)
    for end, word in ((0, 'black'), (255, 'white')):
        share = _share_cut_off(end, mapped, inputs)
        if share > ONE_END:
            decisions.warn(
                mapping.kind,
                f'{mapping.name} is used, but may not be for this X-ray: '
                f'{share:.0%} of the pixels not at the ends are {word}.',
            )


def share_left_over(mapping: Display, inputs: Histogram) -> float:
    """Return what becomes white of a mapping that may be of fewer bits.

    Returns:
        float: Share of the pixels; 0 if the mapping is not of that kind.
    """
    brightest, darkest = _quantiles(*inputs)
    low, high = mapping.range
    if low > darkest or brightest - low < LEFT_OVER * (high - low):
        return 0.0
    return _share_cut_off(255, mapping.apply(inputs.values), inputs)


def _quantiles(image: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """Return what 99 % and 1 % of the pixels are below."""
    order = np.argsort(image, kind='stable')
    reached = np.cumsum(shares[order])
    places = np.searchsorted(reached, (0.99, 0.01)).clip(0, image.size - 1)
    high, low = image[order][places].astype(float)
    return high, low
