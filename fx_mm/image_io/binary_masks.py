"""Masks of one class: which pixels are inside, decided by all values.

A mask drawn with 0 and 255, one with 0 and 1, one with soft edges and one
that a JPEG has blurred are the same mask. A label map of several classes, a
trimap or the X-ray itself are none, and are refused.
"""

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import cv2
import numpy as np

from fx_mm.image_io.mask_edges import (
    SOFT,
    has_dark_areas,
    has_edges,
    is_soft,
)
from fx_mm.image_io.mask_pixels import MaskPixels

INSIDE, IGNORED = 1, 255
MOST_OF_BORDER, MOST_OF_IMAGE = 0.75, 0.6
"""Shares of the pixels inside, of the border and of the image, from which
on a mask may be inverted: no organ has as many."""
GREY = 4
"""Difference of the colours up to which a pixel of a lossy file is grey."""
SHOWN = 12


class MisfitError(Exception):
    """Why a file does not fit its format.

    Attributes:
        found (Iterable[int], optional): The values that do not fit, where
            another format may fit them. None where none does, and the text
            says what to do.
    """

    def __init__(self, text: str, found: Iterable[int] | None = None) -> None:
        super().__init__(text if found is None else f'{text} {listed(found)}')
        self.found = None if found is None else [int(v) for v in found]


class Binary(NamedTuple):
    """A mask of one class.

    Attributes:
        values (np.ndarray): uint8 (H, W): 1 inside, 255 ignored, 0 outside.
        format (str): 'binary', 'alpha' or 'palette'.
        found (list): The values that were looked at.
    """

    values: np.ndarray
    format: str
    found: list[int]


def read_binary(
    pixels: MaskPixels, ignore: Sequence[int] | None = None, sure: bool = False
) -> Binary:
    """Decide what is inside, from grey, colours, a palette or alpha.

    Args:
        pixels (MaskPixels): Of the file; its decisions take warnings.
        ignore (Sequence[int], optional): Values of ignored pixels. Defaults
            to None: 255, where 0, 1 and 255 are the values.
        sure (bool): Whether the user says that it is a mask with a dark
            outside: a JPEG of a single dark value is empty then, and the
            border of the image may be inside. Defaults to False.

    Raises:
        MisfitError: If it is not such a mask.
    """
    found = _read(pixels, ignore, sure)
    share = _share_of_border(found.values)
    if sure or share < MOST_OF_BORDER:
        return found
    inside = found.values == INSIDE
    if inside.all():
        return found
    kind = 'alpha' if found.format == 'alpha' else 'binary'
    advice = (
        'if that is outside, write '
        f"mask_format=dict(type='{kind}', invert=True), else "
        f"mask_format='{kind}'"
    )
    if share == 1:
        raise MisfitError(f'is inside along the whole border; {advice}')
    if inside.mean() > MOST_OF_IMAGE:
        pixels.decisions.warn(
            'inverted mask',
            f'{inside.mean():.0%} of the mask and {share:.0%} of its border '
            f'are inside; {advice}.',
        )
    return found


def _share_of_border(values: np.ndarray) -> float:
    """Return which part of the pixels along the border is inside."""
    sides = (values[0], values[-1], values[1:-1, 0], values[1:-1, -1])
    return float((np.concatenate(sides) == INSIDE).mean())


def _read(
    pixels: MaskPixels, ignore: Sequence[int] | None, sure: bool
) -> Binary:
    if pixels.colors is not None:
        return _of_palette(pixels, pixels.colors, ignore)
    values = pixels.values
    if values.ndim == 2:
        return _of_grey(values, pixels, ignore, sure)
    if values.shape[2] < 4:
        return _of_colors(values, pixels, ignore, sure)
    alpha = values[..., 3]
    plain, opaque = is_constant(values[..., :3]), is_constant(alpha)
    if plain and (not opaque or not alpha.any()):
        return read_alpha(pixels, ignore)
    found = _of_colors(values[..., :3], pixels, ignore, sure)
    if not opaque and not np.array_equal(
        found.values, read_alpha(pixels, ignore).values
    ):
        raise MisfitError(
            'has one mask in its colours and another one in its alpha '
            "channel; mask_format='alpha' takes the latter, else save it "
            'without alpha'
        )
    return found


def read_alpha(
    pixels: MaskPixels,
    ignore: Sequence[int] | None = None,
    invert: bool = False,
) -> Binary:
    """Decide what is inside, from the alpha channel.

    Args:
        pixels (MaskPixels): Of the file; its decisions take warnings.
        ignore (Sequence[int], optional): Values of ignored pixels. Defaults
            to None: as of :func:`read_binary`.
        invert (bool): Whether the user says that opaque is outside: then, an
            opaque picture may be an empty mask. Defaults to False.

    Raises:
        MisfitError: If there is none, or it is not such a mask.
    """
    if pixels.values.ndim != 3 or pixels.values.shape[2] != 4:
        raise MisfitError("has no alpha channel; mask_format='binary' may fit")
    alpha = pixels.values[..., 3]
    if (
        alpha[0, 0]
        and is_constant(alpha)
        and not is_constant(pixels.values[..., :3])
    ):
        text = 'opaque all over, so that its alpha channel has no mask'
        if not invert:
            raise MisfitError(f"is {text}; mask_format='binary' may fit")
        pixels.decisions.warn('opaque', f'The file is {text}; it is empty.')
    found = _of_grey(alpha, pixels, ignore, False)
    return found._replace(format='alpha')


def values_of(image: np.ndarray) -> np.ndarray:
    """Return the distinct values of an image, ascending."""
    if image.dtype in (np.uint8, np.uint16):
        # most masks have no value but 0 and another one
        top = int(image.max())
        inside = cv2.countNonZero(image) if top else 0
        if not top or inside == np.count_nonzero(image == top):
            return np.array([0, top] if 0 < inside < image.size else [top])
        # ten times as fast as to sort
        size = 256 if image.dtype == np.uint8 else 65536
        counts = cv2.calcHist([image], [0], None, [size], [0, size])
        # one column, or since OpenCV 5 none
        return counts.nonzero()[0]
    return np.unique(image)


def listed(values: Iterable[int | list[int]]) -> str:
    """Return values, or colours, for a message, shortened."""
    texts = [str(tuple(v) if isinstance(v, list) else v) for v in values]
    if len(texts) > SHOWN:
        half = SHOWN // 2
        texts = [*texts[:half], '...', *texts[-half:]]
    return ', '.join(texts)


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Return floats as integers; shares from 0 to 1 as 0 to 255.

    Raises:
        MisfitError: If they are neither.
    """
    if values.dtype.kind != 'f':
        return values
    if not np.isfinite(values).all():
        raise MisfitError('has values that are not finite')
    if np.array_equal(values, np.rint(values)):
        return values.astype(np.int64)
    if values.min() >= 0 and values.max() <= 1:
        return np.rint(values * 255).astype(np.uint8)
    raise MisfitError('has fractions outside of 0 to 1')


def is_constant(image: np.ndarray) -> bool:
    """Return whether all pixels are the same."""
    first = image[:1, :1]
    return bool((image == first).all())


def _of_palette(
    pixels: MaskPixels, colors: np.ndarray, ignore: Sequence[int] | None
) -> Binary:
    every = values_of(pixels.values)
    index = set(every.tolist())
    shades = np.zeros((256, 3), np.uint8)
    shades[: len(colors)] = colors
    used = shades[every]
    grey = bool((used == used[:, :1]).all())
    if ignore is None and not index <= {0, 1} and not _ignores(index):
        if grey and len(np.unique(used[:, 0])) == len(used):
            # a grey image that was saved with a palette
            return _of_grey(shades[pixels.values, 0], pixels, None, False)
        raise MisfitError('is a palette image with the indices', every)
    binary = _of_grey(pixels.values, pixels, ignore, False)
    if grey and index == {0, 1} and used[0, 0] > used[1, 0]:
        pixels.decisions.warn(
            'palette',
            'Dark is inside and bright is outside, since those are the '
            'indices 1 and 0 of its palette.',
        )
    return binary._replace(format='palette')


def _ignores(values: Set[int]) -> bool:
    """Return whether 255 is for ignored pixels, since 1 is inside."""
    return {INSIDE, IGNORED} <= values <= {0, INSIDE, IGNORED}


def _of_colors(
    values: np.ndarray,
    pixels: MaskPixels,
    ignore: Sequence[int] | None,
    sure: bool,
) -> Binary:
    first = values[..., 0]
    if all(np.array_equal(first, values[..., i]) for i in (1, 2)):
        return _of_grey(first, pixels, ignore, sure)
    if pixels.lossy:
        # a lossy WebP has no form without colours, and rounds them
        if np.ptp(values, axis=2).max() <= GREY:
            return _of_grey(values[..., 1], pixels, ignore, sure)
        kind = pixels.decisions.format
        raise MisfitError(
            f'is a {kind} in colours that blur; save the mask as a grey PNG'
        )
    colors = np.unique(values.reshape(-1, 3), axis=0)[:, ::-1]
    if len(colors) == 2 and not colors[0].any():
        inside = np.asarray(values.any(axis=2)).view(np.uint8)
        return Binary(inside, 'binary', [0, 1])
    raise MisfitError(
        f'has the colours {listed(colors.tolist())}, which are '
        'not black and one other; save the mask as a grey PNG'
    )


def _of_grey(
    values: np.ndarray,
    pixels: MaskPixels,
    ignore: Sequence[int] | None,
    sure: bool,
) -> Binary:
    values = whole_numbers(values)
    every = values_of(values)
    if ignore is None:
        ignore = ()
        if not pixels.lossy and _ignores(set(every.tolist())):
            ignore = (IGNORED,)
            pixels.decisions.warn(
                'ignored values',
                'Of the values 0, 1 and 255, 1 is inside and 255 is ignored; '
                "write mask_format='label_map', or a file with 0 and 255 "
                'alone is a mask of 255.',
            )
    elif ignore and pixels.lossy:
        raise MisfitError(
            'is a JPEG, whose values blur, so that none can be ignored; save '
            'the mask as PNG'
        )
    found = every[~np.isin(every, ignore)] if len(ignore) else every
    threshold = _threshold(values, found, pixels, sure)
    inside = (values > threshold).view(np.uint8)
    if len(ignore):
        inside[np.isin(values, ignore)] = IGNORED
    return Binary(inside, 'binary', every.tolist())


def _threshold(
    values: np.ndarray,
    found: np.ndarray,
    pixels: MaskPixels,
    sure: bool,
) -> int:
    """Return the value above which pixels are inside.

    Raises:
        MisfitError: If the values are not those of a mask of one class.
    """
    top = int(found[-1]) if len(found) else 0
    low = int(found[0]) if len(found) else 0
    full = full_scale(pixels.white, top)
    if top == 0 and low == 0:
        return 0
    if pixels.lossy:
        return _jpeg_threshold(values, found, pixels, sure)
    if low >= 0 and set(found.tolist()) <= {0, top}:
        if top in (1, full):
            return 0
    elif low >= 0 and is_soft(values, found, full):
        return full // 2
    raise MisfitError('holds the values', found)


def full_scale(white: int, top: int) -> int:
    """Return what is white, of a file of 12 of 16 bits 4095.

    Args:
        white (int): Largest value of the file's depth.
        top (int): Largest value in the file.
    """
    return white if white < 255 else max(255, 2 ** top.bit_length() - 1)


def _jpeg_threshold(
    values: np.ndarray, found: np.ndarray, pixels: MaskPixels, sure: bool
) -> int:
    low, top = int(found[0]), int(found[-1])
    if top < 128 and low == top and sure:
        pixels.decisions.warn(
            'dark JPEG', f'All pixels of the JPEG are {top}: an empty mask.'
        )
        return 127
    if top < 128 or SOFT * 255 < low < (1 - SOFT) * 255:
        raise MisfitError(
            f'is a JPEG with the values {low} to {top}, whose dark and bright '
            'cannot be told apart (0 and 1 do not survive in a JPEG); save '
            'the mask as PNG'
        )
    # a WebP leaves areas too
    areas = pixels.decisions.format != 'WEBP' and has_dark_areas(values, 255)
    if low < 128 and (areas or not has_edges(values, 255)):
        raise MisfitError(
            f'is a JPEG with the values {listed(found)}, which are not black '
            'and white; save the mask as PNG, or correct the path if this is '
            'no mask'
        )
    return 127
