"""The stored values of a DICOM, also where its tags and its pixels disagree.

The tags say how many bits are stored and whether they are signed; so does a
compressed stream, and the pixels show it. A picture is smooth, so of two
readings the one whose neighbours differ less is right.
"""

from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.dicom_tags import DicomTags
from fx_mm.image_io.jpeg import check_jpeg, decode_strictly

MANY_OVERLAYS = 8
"""So many values of the bits that are not stored are no overlays."""

GREY = ('MONOCHROME1', 'MONOCHROME2')
CLOSE = 16
"""Neighbours differ less than this part of the range, ..."""
WRAPS = 0.001
"""... so that such a share of them at its two ends shows a wrong sign, ..."""
SURE = 4
"""... if so many times fewer show that it is right."""
ROWS = 64
"""Rows that tell how smooth a picture is."""


class Stream(NamedTuple):
    """What compressed pixels say of themselves.

    Attributes:
        bits (int): Per sample; 0 if they do not say it.
        signed (bool, optional): None if they do not say it.
        values (np.ndarray, optional): uint8 (H, W), where they are decoded
            already.
    """

    bits: int = 0
    signed: bool | None = None
    values: np.ndarray | None = None


def read_pixels(tags: DicomTags) -> np.ndarray:
    """Return the stored values; of a HighBit that is odd, moved down.

    Args:
        tags (DicomTags): Of a file whose description of its pixels is
            complete; is corrected, with a warning.

    Returns:
        np.ndarray: Shape (H, W), or (H, W, 3) RGB.

    Raises:
        UnreadableError: If compressed pixels are damaged.
        Exception: Of pydicom, if they cannot be decoded.
    """
    dataset, high = tags.dataset, tags.number('HighBit')
    if 'PixelData' not in dataset:
        return pixel_array(dataset)
    stored = dataset.BitsStored
    compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
    if high is None or high == stored - 1:
        return _settle_wraps(tags, _stored_values(tags))
    shift = int(high) + 1 - stored
    if shift > 0 and high < dataset.BitsAllocated and not compressed:
        values = _decode(dataset, int(high) + 1)
        if not (values & (2**shift - 1)).any():
            tags.decisions.warn(
                'HighBit',
                f'HighBit {high:g} puts the {stored} bits at the upper end; '
                'they are moved down.',
            )
            return values >> shift
        if not dataset.PixelRepresentation:
            _fill_bits(tags, int(high) + 1)
            return values
    tags.decisions.warn(
        'HighBit',
        f'HighBit {high:g} does not fit {stored} stored bits; it is not used.',
    )
    return _stored_values(tags) if compressed else pixel_array(dataset)


def _stored_values(tags: DicomTags) -> np.ndarray:
    """Return the values of the bits that are stored.

    What is above them is dropped, such as overlays, unless it belongs to the
    values: a picture is smoother with all of its bits than without its
    highest ones, and a palette has entries for them.
    """
    dataset, stored = tags.dataset, tags.dataset.BitsStored
    stream = _read_stream(dataset, tags.decisions)
    bits = max(stream.bits or dataset.BitsAllocated, stored)
    sign = bool(dataset.PixelRepresentation)
    if stream.values is not None:
        values = _as_signed(stream.values, bits, sign)
    elif stream.signed is not None and stream.signed != sign:
        values = _settle_sign(tags, bits, stream.signed)
    elif bits == stored:
        return _settle_bytes(tags, pixel_array(dataset))
    elif dataset.PhotometricInterpretation.startswith('YBR'):
        raw = _decode(dataset, bits, raw=True)
        if int(raw.max()) >> stored:
            _fill_bits(tags, int(raw.max()).bit_length())
        return pixel_array(dataset)
    else:
        values = _settle_bytes(tags, _decode(dataset, bits))
    low, high = int(values.min()), int(values.max())
    lowest = -(2 ** (stored - 1)) if dataset.PixelRepresentation else 0
    if lowest <= low and high < lowest + 2**stored:
        return values
    masked = _as_signed(values, stored, values.dtype.kind == 'i')
    if dataset.PhotometricInterpretation == 'PALETTE COLOR':
        belongs = high < _palette_end(tags)
    else:
        belongs = _is_smoother(values, masked, stored)
    if not belongs:
        return masked
    bits = max(high, ~low if low < 0 else low).bit_length()
    _fill_bits(tags, bits + int(dataset.PixelRepresentation))
    return values


def _read_stream(dataset: pydicom.Dataset, decisions: Decisions) -> Stream:
    """Read what a compressed stream says, and refuse a damaged JPEG.

    pydicom's decoders hand on what libjpeg has filled with grey.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    j2k = syntax in JPEG2000TransferSyntaxes
    if not j2k and syntax not in (
        *JPEGTransferSyntaxes,
        *JPEGLSTransferSyntaxes,
    ):
        return Stream()
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if j2k:
        found = get_j2k_parameters(frame)
        grey = dataset.SamplesPerPixel == 1
        signed = found.get('is_signed') if grey else None
        return Stream(found.get('precision', 0), signed)
    bits, samples = check_jpeg(frame)
    values = None
    if bits == 8 and syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
        values = decode_strictly(frame, samples, decisions)
    grey = samples == dataset.SamplesPerPixel == 1
    whole = grey and dataset.BitsAllocated == 8
    return Stream(bits, values=values if whole else None)


def _settle_sign(tags: DicomTags, bits: int, signed: bool) -> np.ndarray:
    """Decide whose sign is right, the tag's or the JPEG 2000 stream's."""
    dataset, tag = tags.dataset, tags.dataset.PixelRepresentation
    dataset.PixelRepresentation = int(signed)
    own = _decode(dataset, bits)
    dataset.PixelRepresentation = tag
    other = _as_signed(own, bits, bool(tag))
    if np.array_equal(own, other):
        return other
    if _steps(own) < _steps(other):
        tags.fill('PixelRepresentation', int(signed))
        return own
    tags.decisions.warn(
        'PixelRepresentation',
        f'The JPEG 2000 data are {"signed" if signed else "unsigned"}, but '
        f'PixelRepresentation is {tag}, which the picture agrees with.',
    )
    return other


def _settle_wraps(tags: DicomTags, values: np.ndarray) -> np.ndarray:
    """Take the other sign where values wrap around at the tag's.

    Neighbours then lie at the two ends of its range, and none at both sides
    of its middle. Letters and air do not count: the very ends, unless they
    have a neighbour that is close.
    """
    dataset, full = tags.dataset, 2**tags.dataset.BitsStored
    if values.ndim != 2 or dataset.PhotometricInterpretation not in GREY:
        return values
    if int(values.max()) - int(values.min()) < full - full // CLOSE:
        return values
    rows = _some_rows(values).astype(np.int64)
    lowest = -full // 2 if dataset.PixelRepresentation else 0
    steps = np.abs(np.diff(rows, axis=1))
    close = (steps > 0) & (steps < full // CLOSE)
    inner = (rows > lowest) & (rows < lowest + full - 1)
    inner[:, 1:] |= close
    inner[:, :-1] |= close
    pairs = inner[:, 1:] & inner[:, :-1]
    upper = rows >= lowest + full // 2
    sides = upper[:, 1:] != upper[:, :-1]
    wraps = np.count_nonzero(pairs & (steps > full - full // CLOSE))
    middle = np.count_nonzero(sides & close)
    if wraps < WRAPS * steps.size or wraps < SURE * middle:
        return values
    tags.fill('PixelRepresentation', 1 - dataset.PixelRepresentation)
    return _as_signed(
        values, dataset.BitsStored, bool(dataset.PixelRepresentation)
    )


def _settle_bytes(tags: DicomTags, values: np.ndarray) -> np.ndarray:
    """Exchange the bytes of values that are far smoother then."""
    native = not tags.dataset.file_meta.TransferSyntaxUID.is_compressed
    if not native or values.ndim != 2 or values.dtype.itemsize != 2:
        return values
    rows = _some_rows(values)
    if SURE * _roughness(rows.byteswap()) >= _roughness(rows):
        return values
    tags.decisions.warn(
        'bytes',
        'The bytes of the pixels are in the other order than the transfer '
        'syntax says; they are exchanged.',
    )
    return values.byteswap()


def _some_rows(values: np.ndarray) -> np.ndarray:
    return values[:: len(values) // ROWS + 1]


def _roughness(rows: np.ndarray) -> float:
    """Return how much neighbours in a row differ, of the contrast."""
    rows = rows.astype(np.float32)
    steps = np.abs(np.diff(rows, axis=1)).mean()
    return float(steps / max(rows.std(), np.finfo(np.float32).tiny))


def _decode(
    dataset: pydicom.Dataset, bits: int, raw: bool = False
) -> np.ndarray:
    """Decode with another number of stored bits."""
    stored = dataset.BitsStored
    dataset.BitsStored = bits
    values = pixel_array(dataset, raw=raw)
    dataset.BitsStored = stored
    return values


def _fill_bits(tags: DicomTags, bits: int) -> None:
    tags.fill('BitsStored', bits)
    tags.decisions.depth = bits


def _as_signed(values: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Read the lowest bits as numbers with or without a sign."""
    size = values.dtype.itemsize
    if not signed:
        lowest = np.array(2**bits - 1, f'u{size}')
        return values.view(lowest.dtype) & lowest
    shift = 8 * size - bits
    return (values.view(f'i{size}') << shift) >> shift


def _palette_end(tags: DicomTags) -> int:
    """Return the value behind the last one that a palette has a colour for."""
    descriptor = tags.numbers('RedPaletteColorLookupTableDescriptor')
    count, first = (int(number or 0) for number in (*descriptor, 0, 0)[:2])
    return first + (count % 2**16 or 2**16)


def _is_smoother(values: np.ndarray, masked: np.ndarray, stored: int) -> bool:
    smoother = _steps(values) < _steps(masked)
    if not smoother and np.unique(values >> stored).size >= MANY_OVERLAYS:
        # of a noisy picture, what is left of its bits is noise alone
        smoother = _steps(values) * masked.std() < (
            _steps(masked) * values.std()
        )
    return smoother


def _steps(values: np.ndarray) -> float:
    """Return how much neighbours differ, summed up."""
    values = values.astype(np.float32)
    return sum(
        float(np.abs(np.diff(values, axis=axis)).sum()) for axis in (0, 1)
    )
