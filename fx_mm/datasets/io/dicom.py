"""DICOM X-rays to 8-bit grey (DICOM PS3.3, C.7.6.3, C.11.1 and C.11.2)."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi,
    get_decoder,
    pixel_array,
)

from fx_mm.datasets.io.errors import UnreadableError
from fx_mm.datasets.io.pixels import stretch, to_grey, value_range

PIXEL_KEYWORDS = ('PixelData', 'FloatPixelData', 'DoubleFloatPixelData')


def decode_dicom(
    data: bytes, percentiles: Sequence[float] | None = None
) -> np.ndarray:
    """Decode a DICOM image to what a radiologist's screen would show.

    The modality LUT (or rescale slope and intercept) is applied, then the
    VOI LUT or the first window. Without either, or with a window of a width
    that the standard forbids, 8-bit values stay as they are and deeper ones
    are mapped from their value range, padding pixels not counted. What is
    stored inverse (MONOCHROME1, or a presentation LUT shape INVERSE, which
    such files may have both) is inverted last, as 255 - value.

    Args:
        data (bytes): Content of the file.
        percentiles (Sequence[float], optional): See
            :func:`fx_mm.datasets.read_xray`. Defaults to None.

    Returns:
        np.ndarray: uint8 of shape (H, W).

    Raises:
        UnreadableError: If the file is cut off, has no pixel data, several
            frames, or a compression that no installed decoder knows.
    """
    with warnings.catch_warnings(record=True) as caught:
        # one warning per tag and file would flood the log of a training run
        warnings.simplefilter('always')
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            _check(dataset, caught)
            _set_syntax(dataset)
            _check_decoder(dataset.file_meta.TransferSyntaxUID)
            return _to_uint8(dataset, pixel_array(dataset), percentiles)
        except UnreadableError:
            raise
        except Exception as error:  # pydicom and its decoders raise any kind
            reason = ' '.join(str(error).split())
            raise UnreadableError(
                f'the DICOM cannot be decoded ({reason})'
            ) from error


def _check(
    dataset: pydicom.Dataset, caught: Sequence[warnings.WarningMessage]
) -> None:
    cut_off = any('end of file' in str(w.message).lower() for w in caught)
    if not any(keyword in dataset for keyword in PIXEL_KEYWORDS):
        if cut_off:
            raise UnreadableError('the DICOM is cut off within its pixel data')
        if 'Rows' not in dataset and 'SOPClassUID' not in dataset:
            raise UnreadableError('is not a DICOM file')
        raise UnreadableError('the DICOM has no pixel data')
    frames = int(dataset.get('NumberOfFrames') or 1)
    if frames > 1:
        raise UnreadableError(
            f'the DICOM has {frames} frames; save the X-ray as one'
        )


def _check_decoder(syntax: pydicom.uid.UID) -> None:
    """Refuse a compression that no installed decoder knows."""
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise UnreadableError(
            f'the DICOM has the transfer syntax "{syntax.name}", which '
            'pydicom does not decode; convert it, such as with dcmdjpeg'
        ) from None
    if not available:
        raise UnreadableError(
            f'the DICOM is compressed as "{syntax.name}"; to decode it, run '
            'pip install pylibjpeg-libjpeg (licensed GPL-3.0)'
        )


def _set_syntax(dataset: pydicom.Dataset) -> None:
    """Set the syntax that a file without meta header was parsed with."""
    meta = dataset.file_meta
    if 'TransferSyntaxUID' not in meta:
        little = dataset.original_encoding[1] is not False
        implicit = dataset.original_encoding[0] is not False
        uid = pydicom.uid
        meta.TransferSyntaxUID = (
            uid.ImplicitVRLittleEndian
            if implicit
            else uid.ExplicitVRLittleEndian
            if little
            else uid.ExplicitVRBigEndian
        )


def _to_uint8(
    dataset: pydicom.Dataset,
    stored: np.ndarray,
    percentiles: Sequence[float] | None,
) -> np.ndarray:
    photometric = str(dataset.get('PhotometricInterpretation', ''))
    if photometric == 'PALETTE COLOR':
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3:  # colour: a photo of a film, or an export
        grey = to_grey(stored[..., ::-1])
        return stretch(grey, 0, np.iinfo(grey.dtype).max)
    values = _modality(dataset, stored)
    if not np.isfinite(values).all():
        raise UnreadableError('the DICOM has pixel values that are not finite')
    image = _voi(dataset, values)
    if image is None:
        image = _without_window(dataset, stored, values, percentiles)
    shape = str(dataset.get('PresentationLUTShape') or '').strip().upper()
    if photometric == 'MONOCHROME1' or shape == 'INVERSE':
        return 255 - image
    return image


def _modality(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Apply the modality LUT or the rescale, unless it changes nothing."""
    if not dataset.get('ModalityLUTSequence') and _rescale(dataset) == (1, 0):
        return stored
    return apply_modality_lut(stored, dataset)


def _rescale(dataset: pydicom.Dataset) -> tuple[float, float]:
    slope = dataset.get('RescaleSlope')
    intercept = dataset.get('RescaleIntercept')
    return (
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def _without_window(
    dataset: pydicom.Dataset,
    stored: np.ndarray,
    values: np.ndarray,
    percentiles: Sequence[float] | None,
) -> np.ndarray:
    """Keep 8-bit values, map deeper ones from their value range."""
    shallow = stored.dtype.kind == 'u' and dataset.get('BitsStored', 16) <= 8
    table = dataset.get('ModalityLUTSequence')
    if shallow and not table and _rescale(dataset)[0] > 0:
        return stored.astype(np.uint8)
    padding = _padding(dataset, stored)
    kept = values if padding is None else values[~padding]
    if kept.size == 0:
        kept = values
    return stretch(values, *value_range(kept, percentiles))


def _padding(
    dataset: pydicom.Dataset, stored: np.ndarray
) -> np.ndarray | None:
    """Find pixels outside the exposed field; None if the file marks none."""
    first = dataset.get('PixelPaddingValue')
    if first is None:
        return None
    last = dataset.get('PixelPaddingRangeLimit', first)
    low, high = sorted((int(first), int(last)))
    padding = (stored >= low) & (stored <= high)
    return padding if padding.any() else None


def _voi(dataset: pydicom.Dataset, values: np.ndarray) -> np.ndarray | None:
    """Apply the VOI LUT or first window; None if there is no usable one."""
    sequence = dataset.get('VOILUTSequence')
    if sequence:
        table = apply_voi(_table_inputs(sequence[0]), dataset)
        mapped = apply_voi(np.rint(values).astype(np.int64), dataset)
        return stretch(mapped, float(table.min()), float(table.max()))
    center, width = dataset.get('WindowCenter'), dataset.get('WindowWidth')
    if center is None or width is None:
        return None
    center, width = _first(center), _first(width)
    function = str(dataset.get('VOILUTFunction') or 'LINEAR').upper()
    if width <= 0 or (width < 1 and function == 'LINEAR'):
        return None
    if function == 'SIGMOID':
        share = 1 / (1 + np.exp(-4 * (values - center) / width))
        return stretch(share, 0, 1)
    if function == 'LINEAR_EXACT':
        return stretch(values, center - width / 2, center + width / 2)
    if width == 1:  # a threshold, by the standard's formula
        return np.where(values <= center - 0.5, 0, 255).astype(np.uint8)
    low = center - 0.5 - (width - 1) / 2
    return stretch(values, low, low + width - 1)


def _table_inputs(item: pydicom.Dataset) -> np.ndarray:
    """Return all inputs that a LUT maps, from its descriptor."""
    entries, first = item.LUTDescriptor[0] or 2**16, item.LUTDescriptor[1]
    return np.arange(int(first), int(first) + int(entries), dtype=np.int32)


def _first(value: Any) -> float:
    many = isinstance(value, (list, tuple, pydicom.multival.MultiValue))
    return float(value[0] if many else value)
