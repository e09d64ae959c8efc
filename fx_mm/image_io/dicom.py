"""DICOM X-rays to 8-bit grey: the file, its pixels, its colours."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import JPEGExtended12Bit

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.dicom_display import display
from fx_mm.image_io.dicom_pixels import read_pixels
from fx_mm.image_io.dicom_tags import DicomTags
from fx_mm.image_io.errors import UnreadableError
from fx_mm.image_io.pixels import stretch, to_grey, warn_of_few_levels

PIXEL_KEYWORDS = ('PixelData', 'FloatPixelData', 'DoubleFloatPixelData')
GREY = ('MONOCHROME1', 'MONOCHROME2', 'PALETTE COLOR')
PHOTOMETRICS = {
    *GREY,
    'RGB',
    'YBR_FULL',
    'YBR_FULL_422',
    'YBR_ICT',
    'YBR_RCT',
    'YBR_PARTIAL_420',
    'YBR_PARTIAL_422',
}
NUMBERS = (
    'Rows',
    'Columns',
    'SamplesPerPixel',
    'PlanarConfiguration',
    'BitsAllocated',
    'BitsStored',
    'PixelRepresentation',
)
LIBJPEG = 'pip install pylibjpeg-libjpeg (licensed GPL-3.0)'
"""Decodes all of JPEG; python-gdcm all but 12 bits of JPEG Extended."""


def decode_dicom(
    data: bytes, percentiles: Sequence[float] | None = None
) -> tuple[np.ndarray, Decisions]:
    """Decode a DICOM image to what a radiologist's screen would show.

    The modality LUT (or rescale slope and intercept) is applied, then the
    VOI LUT or the first window that fits the pixels. Without one, 8-bit
    values stay as they are and deeper ones are mapped from their value
    range, padding pixels not counted. What is stored inverse (MONOCHROME1,
    or a presentation LUT shape INVERSE, which such files may have both) is
    inverted last, as 255 - value.

    An optional tag that is empty, malformed or does not fit the pixels is
    left out, with a warning.

    Args:
        data (bytes): Content of the file.
        percentiles (Sequence[float], optional): See
            :func:`fx_mm.apis.read_xray`. Defaults to None.

    Returns:
        tuple: uint8 of shape (H, W), and what was decided.

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
            tags = DicomTags(dataset, Decisions('DICOM'))
            _check_frames(tags)
            _set_syntax(dataset)
            _complete(tags)
            _check_decoder(dataset)
            caught.clear()
            stored = read_pixels(tags)
            if stored.shape[:2] != (dataset.Rows, dataset.Columns):
                raise UnreadableError(
                    'the DICOM has more pixels than its one frame of '
                    f'{dataset.Columns}x{dataset.Rows}; save the X-ray as one'
                )
            for warning in caught:
                text = ' '.join(str(warning.message).split())
                tags.decisions.warn('pydicom', f'pydicom: {text}')
            return _to_uint8(tags, stored, percentiles), tags.decisions
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
    if any(keyword in dataset for keyword in PIXEL_KEYWORDS):
        return
    if any('end of file' in str(w.message).lower() for w in caught):
        raise UnreadableError('the DICOM is cut off within its pixel data')
    if 'Rows' not in dataset and 'SOPClassUID' not in dataset:
        raise UnreadableError('is not a DICOM file')
    raise UnreadableError('the DICOM has no pixel data')


def _check_frames(tags: DicomTags) -> None:
    frames = tags.number('NumberOfFrames')
    if frames is not None and frames > 1:
        raise UnreadableError(
            f'the DICOM has {frames:g} frames; save the X-ray as one'
        )
    if 'NumberOfFrames' in tags.dataset:
        del tags.dataset.NumberOfFrames  # where it may be 0 or a text


def _check_decoder(dataset: pydicom.Dataset) -> None:
    """Refuse a compression that no installed decoder knows."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableError(
            f'the DICOM has the transfer syntax "{syntax.name}", which '
            'pydicom does not decode; convert it, such as with dcmdjpeg'
        ) from None
    if not decoder.is_available:
        raise UnreadableError(
            f'the DICOM is compressed as "{syntax.name}"; to decode it, run '
            f'pip install python-gdcm, or {LIBJPEG}'
        )
    deep = syntax == JPEGExtended12Bit and dataset.BitsStored > 8
    if deep and 'pylibjpeg' not in decoder.available_plugins:
        raise UnreadableError(
            f'the DICOM is compressed as "{syntax.name}" with '
            f'{dataset.BitsStored} bits; to decode it, run {LIBJPEG}'
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


def _complete(tags: DicomTags) -> None:
    """Fill in what a decoder needs and the file lacks."""
    dataset = tags.dataset
    for keyword in NUMBERS:
        numbers = tags.numbers(keyword)
        if len(numbers) > 1 and numbers[0] is not None:
            tags.fill(keyword, int(numbers[0]))
    photometric = tags.text('PhotometricInterpretation')
    samples = tags.number('SamplesPerPixel')
    if samples not in (1, 3):
        samples = 3 if photometric in PHOTOMETRICS - {*GREY} else 1
        tags.fill('SamplesPerPixel', samples)
    if photometric not in PHOTOMETRICS:
        photometric = 'MONOCHROME2' if samples == 1 else 'RGB'
        tags.fill('PhotometricInterpretation', photometric)
    dataset.PhotometricInterpretation = photometric
    tags.decisions.photometric = photometric
    if samples == 3 and tags.number('PlanarConfiguration') not in (0, 1):
        tags.fill('PlanarConfiguration', 0)
    allocated = tags.number('BitsAllocated')
    if allocated is None:
        raise UnreadableError('the DICOM does not say its BitsAllocated')
    if 'PixelData' in dataset:
        if tags.number('PixelRepresentation') not in (0, 1):
            tags.fill('PixelRepresentation', 0)
        if not 1 <= (tags.number('BitsStored') or 0) <= allocated:
            tags.fill('BitsStored', int(allocated))
    else:  # floats
        dataset.BitsStored = int(allocated)
    tags.decisions.depth = dataset.BitsStored


def _to_uint8(
    tags: DicomTags,
    stored: np.ndarray,
    percentiles: Sequence[float] | None,
) -> np.ndarray:
    decisions = tags.decisions
    if decisions.photometric == 'PALETTE COLOR':
        stored = apply_color_lut(stored, tags.dataset)
        bits = 8 * stored.dtype.itemsize
    else:
        bits = tags.dataset.BitsStored
    if stored.ndim == 2:
        image = display(tags, stored, percentiles)
        shape = tags.text('PresentationLUTShape')
        if shape not in ('', 'IDENTITY', 'INVERSE', 'LIN OD'):
            decisions.warn(
                'PresentationLUTShape',
                f'PresentationLUTShape is {shape}; it is not used.',
            )
        if decisions.photometric == 'MONOCHROME1' or shape == 'INVERSE':
            decisions.inverted = True
            return 255 - image
        return image
    # colour: a photo of a film, or an export
    grey = to_grey(stored[..., ::-1])
    high = int(grey.max())
    if high >= 2**bits:
        decisions.warn(
            'colour depth',
            f'The colours are said to have {bits} bits, but reach {high}; '
            f'{high.bit_length()} bits are taken.',
        )
        bits = high.bit_length()
    if bits == 8:
        image = stretch(grey, 0, 255)
        warn_of_few_levels(grey, image, decisions)
        return image
    if bits > 8 and high * 4 < 2**bits:
        decisions.warn(
            'colour depth',
            f'The colours have {bits} bits, but no value above {high}; '
            'the value range is used.',
        )
        low = int(grey.min())
    else:
        low, high = 0, 2**bits - 1
    decisions.mapping, decisions.range = 'value range', [low, high]
    image = stretch(grey, low, high)
    warn_of_few_levels(grey, image, decisions)
    return image
