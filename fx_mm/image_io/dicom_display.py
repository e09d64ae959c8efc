"""How a DICOM is to be displayed (PS3.3, C.7.6.3, C.11.1 and C.11.2).

What the file says is judged by its pixels: windows are left over from other
bit depths and modalities, and would show the image black, white or with a few
grey levels.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fx_mm.image_io.dicom_fit import (
    LEFT_OVER_DOUBT,
    X_RAYS,
    Display,
    Transform,
    find_misfit,
    share_left_over,
    warn_of_one_end,
)
from fx_mm.image_io.dicom_luts import Histogram, Table, read_table
from fx_mm.image_io.dicom_tags import DicomTags
from fx_mm.image_io.errors import UnreadableError
from fx_mm.image_io.pixels import (
    FEWEST_LEVELS,
    MANY_LEVELS,
    map_range,
    sample,
    stretch,
    warn_of_few_levels,
)

UNCOVERED = 0.5
"""Share of pixels that a modality LUT must not lack an entry for."""
PLAUSIBLE = 1e12
"""Slopes beyond it, or below its inverse, are none."""


def display(
    tags: DicomTags,
    stored: np.ndarray,
    percentiles: Sequence[float] | None = None,
) -> np.ndarray:
    """Turn stored values into grey, without inverting.

    Args:
        tags (DicomTags): Of the file.
        stored (np.ndarray): Shape (H, W).
        percentiles (Sequence[float], optional): See
            :func:`fx_mm.apis.read_xray`. Defaults to None.

    Returns:
        np.ndarray: uint8 of shape (H, W).

    Raises:
        UnreadableError: If there are values that are not finite.
    """
    decisions = tags.decisions
    padding = _find_padding(tags, stored)
    count = functools.cache(functools.partial(_count, stored, padding))
    table = _modality_table(tags, count)
    slope, intercept = (1.0, 0.0) if table else _rescale(tags)
    modality = functools.partial(_apply, table, slope, intercept)
    values = modality(stored)
    decisions.rescale = None if table else [slope, intercept]
    if not np.isfinite(values).all():
        raise UnreadableError('the DICOM has pixel values that are not finite')
    fits = True
    for mapping in _mappings(tags, modality, count):
        inputs = Histogram(modality(count().values), count().shares)
        reason = find_misfit(mapping, inputs)
        if reason is None:
            decisions.mapping = mapping.kind
            decisions.range = list(mapping.range)
            white = share_left_over(mapping, inputs)
            if white > LEFT_OVER_DOUBT:
                decisions.warn(
                    mapping.kind,
                    f'{mapping.name} is used, but may be of fewer bits than '
                    f'the pixels: {white:.0%} of those not at the ends are '
                    'white.',
                )
            elif tags.text('Modality') in X_RAYS:
                warn_of_one_end(mapping, inputs, decisions)
            image = mapping.apply(values)
            warn_of_few_levels(stored, image, decisions)
            return image
        fits = False
        decisions.warn(
            mapping.kind,
            f'{mapping.name} does not fit the pixels, since {reason}; it is '
            'not used.',
        )
    of_8_bits = stored.dtype.kind == 'u' and tags.dataset.BitsStored == 8
    if of_8_bits and fits and not table and slope > 0:
        decisions.rescale = [1.0, 0.0]
        return stored.astype(np.uint8)
    kept = values
    if padding is not None:
        kept = values[(stored < padding[0]) | (stored > padding[1])]
    low, high = map_range(kept, decisions, percentiles)
    image = stretch(values, low, high)
    warn_of_few_levels(stored, image, decisions)
    return image


def _count(
    stored: np.ndarray, padding: tuple[float, float] | None
) -> Histogram:
    """Count the pixels of each value, padding left out."""
    some = sample(stored)
    if some.dtype.kind in 'iu' and some.itemsize <= 2:
        lowest = np.iinfo(some.dtype).min
        each = np.bincount(some.astype(np.int64) - lowest)
        values = each.nonzero()[0]
        values, counts = values + lowest, each[values]
    else:
        values, counts = np.unique(some, return_counts=True)
    if padding is not None:
        kept = (values < padding[0]) | (values > padding[1])
        if kept.any():  # none of a sample, it may be
            values, counts = values[kept], counts[kept]
    return Histogram(values, counts / counts.sum())


def _find_padding(
    tags: DicomTags, stored: np.ndarray
) -> tuple[float, float] | None:
    """Find the values of pixels outside the exposed field.

    The tag's type says nothing of its sign in many files: 63536 is -2000 of
    signed pixels of 16 bits.

    Returns:
        tuple: Lowest and highest; None if no pixel has one, or all have.
    """
    first = tags.number('PixelPaddingValue')
    if first is None:
        return None
    last = tags.number('PixelPaddingRangeLimit')
    ends = [first, first if last is None else last]
    if stored.dtype.kind in 'iu':
        span = 2**tags.dataset.BitsStored
        lowest = -span // 2 if stored.dtype.kind == 'i' else 0
        for number, end in enumerate(ends):
            if not lowest <= end < lowest + span:
                bits = tags.dataset.BitsAllocated
                for wrapped in (end - 2**bits, end + 2**bits):
                    if lowest <= wrapped < lowest + span:
                        end = wrapped
                ends[number] = (end - lowest) % span + lowest
    low, high = sorted(ends)
    padding = (stored >= low) & (stored <= high)
    if padding.all():
        tags.decisions.warn(
            'padding',
            f'PixelPaddingValue ({low:g} to {high:g}) would take all pixels; '
            'it is not used.',
        )
        return None
    return (low, high) if padding.any() else None


def _modality_table(
    tags: DicomTags, count: Callable[[], Histogram]
) -> Table | None:
    """Return the modality LUT, if it is there and covers the pixels."""
    for item in tags.items('ModalityLUTSequence')[:1]:
        seen = count()
        table = read_table(item, 'The modality LUT', seen)
        if table is None:
            continue
        outside = table.share_outside(seen)
        left, many = (
            np.unique(table.look_up(seen.values)).size,
            len(seen.values),
        )
        if outside > UNCOVERED:
            reason = f'{outside:.0%} of the pixels are outside of it'
        elif left < FEWEST_LEVELS and many > MANY_LEVELS:
            reason = f'it would leave {left} of {many} grey levels'
        else:
            return table
        tags.decisions.warn(
            'modality LUT', f'The modality LUT is not used, since {reason}.'
        )
    return None


def _rescale(tags: DicomTags) -> tuple[float, float]:
    """Return slope and intercept; 1 and 0 for what is missing or none."""
    slope = tags.number('RescaleSlope')
    intercept = tags.number('RescaleIntercept')
    if slope is not None and not 1 / PLAUSIBLE < abs(slope) < PLAUSIBLE:
        tags.decisions.warn(
            'RescaleSlope', f'RescaleSlope is {slope:g}; it is not used.'
        )
        slope = None
    if intercept is not None and abs(intercept) > PLAUSIBLE:
        tags.decisions.warn(
            'RescaleIntercept',
            f'RescaleIntercept is {intercept:g}; it is not used.',
        )
        intercept = None
    if (slope is None) != (intercept is None):
        missing, taken = (
            ('RescaleSlope', 1) if slope is None else ('RescaleIntercept', 0)
        )
        tags.decisions.warn(
            'rescale', f'There is no usable {missing}; {taken} is taken.'
        )
    return slope or 1.0, intercept or 0.0


def _apply(
    table: Table | None, slope: float, intercept: float, stored: np.ndarray
) -> np.ndarray:
    """Apply the modality LUT or the rescale, unless it changes nothing."""
    if table is not None:
        return table.look_up(stored)
    if (slope, intercept) == (1, 0):
        return stored
    values = stored.astype(np.float64) * slope
    values += intercept
    return values


def _mappings(
    tags: DicomTags, modality: Transform, count: Callable[[], Histogram]
) -> Iterator[Display]:
    """Yield the VOI LUTs, then the windows, of which the first fitting counts.

    What cannot be a window is left out with a warning.
    """
    for number, item in enumerate(tags.items('VOILUTSequence'), 1):
        seen = count()
        inputs = Histogram(modality(seen.values), seen.shares)
        table = read_table(item, f'VOI LUT {number}', inputs)
        if table is not None:
            last = table.first + len(table.entries) - 1
            yield Display(
                'VOI LUT',
                f'VOI LUT {number} (inputs {table.first} to {last})',
                (table.first, last),
                table.grey,
            )
    centers = tags.numbers('WindowCenter')
    widths = tags.numbers('WindowWidth')
    if len(centers) != len(widths):
        tags.decisions.warn(
            'windows',
            f'There are {len(centers)} window centers and {len(widths)} '
            'widths.',
        )
    function = 'LINEAR'
    if centers and widths:
        function = tags.text('VOILUTFunction') or function
    if function not in ('LINEAR', 'LINEAR_EXACT', 'SIGMOID'):
        tags.decisions.warn(
            'VOILUTFunction',
            f'VOILUTFunction is "{function}"; LINEAR is taken.',
        )
        function = 'LINEAR'
    for center, width in zip(centers, widths):
        if center is None or width is None:
            continue
        if width <= 0 or (width < 1 and function == 'LINEAR'):
            tags.decisions.warn(
                'window', f'A window of the width {width:g} is not used.'
            )
            continue
        yield _window(center, width, function)


def _window(center: float, width: float, function: str) -> Display:
    """Return the mapping of a window (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    low, high = center - width / 2, center + width / 2
    if function == 'LINEAR':
        low = center - 0.5 - (width - 1) / 2
        high = low + width - 1

    def apply(values: np.ndarray) -> np.ndarray:
        if function == 'SIGMOID':
            with np.errstate(over='ignore'):
                share = 1 / (1 + np.exp(-4 * (values - center) / width))
            return stretch(share, 0, 1)
        if low == high:  # a threshold, by the standard's formula
            return np.where(values <= low, 0, 255).astype(np.uint8)
        return stretch(values, low, high)

    name = f'The window {center:g} of width {width:g}'
    return Display('window', name, (low, high), apply)
