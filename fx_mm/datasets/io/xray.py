"""Reading X-rays: PNG, JPEG, TIFF, DICOM, .mha and more to 8-bit grey.

Image decoders are forgiving: they return what they could read of a cut-off
file and fill the rest with grey. A network learns from that without a word,
so every file is checked for being whole before it is decoded.
"""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from fx_mm.datasets.io.errors import ImageReadError, UnreadableError
from fx_mm.datasets.io.metaimage import (
    decode_jsrt,
    decode_metaimage,
    is_jsrt,
    is_metaimage,
)
from fx_mm.datasets.io.pixels import check_percentiles, to_grey, to_uint8

IMAGE_SUFFIXES = (
    '.png',
    '.jpg',
    '.jpeg',
    '.tif',
    '.tiff',
    '.bmp',
    '.gif',
    '.dcm',
    '.dicom',
    '.mha',
    '.img',
)
PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
JPEG_SIGNATURE = b'\xff\xd8\xff'
GIF_SIGNATURE = b'GIF8'
DICOM_SIGNATURE = b'DICM'
BITS_PER_SAMPLE = 258  # a TIFF tag


def read_xray(
    path: str, percentiles: Sequence[float] | None = None
) -> np.ndarray:
    """Read an X-ray as 8-bit grey.

    8-bit files keep their values; deeper ones are mapped linearly from their
    own value range to 0..255 (DICOM: from the window, where it has one).
    Colours become luminance, an alpha channel is dropped. Bone is bright in
    every image: DICOM that is stored inverse and JSRT's optical densities
    are inverted.

    Args:
        path (str): Path of a PNG, JPEG, TIFF, BMP, GIF, DICOM or MetaImage
            (.mha) file. The content decides the format, not the name; only
            JSRT's, which has no header, goes by its name (.IMG).
        percentiles (Sequence[float], optional): Low and high percentile of
            the values that become 0 and 255, instead of the whole range, for
            deeper files without a window: a bright letter or a dead pixel
            then darkens nothing. Such as (0.5, 99.5). Defaults to None.

    Returns:
        np.ndarray: uint8 of shape (H, W).

    Raises:
        ImageReadError: If the file is missing, cut off, damaged, has several
            frames, or is of an unknown format.
        UserError: If the percentiles are not valid.
    """
    check_percentiles(percentiles)
    try:
        data = _read_bytes(path)
        if is_dicom(data, path):
            # pydicom takes 0.3 s to import, which PNG users need not wait for
            from fx_mm.datasets.io.dicom import decode_dicom

            return decode_dicom(data, percentiles)
        if is_jsrt(path):
            return to_uint8(decode_jsrt(data), percentiles)
        return to_uint8(to_grey(decode(data)), percentiles)
    except UnreadableError as error:
        raise ImageReadError(f'{path}: {error}') from error


def read_mask(path: str) -> np.ndarray:
    """Read a mask file with its values as they are.

    Args:
        path (str): Path of an image file; of colour images, a pixel's value
            is the largest of its channels, without alpha.

    Returns:
        np.ndarray: Integers of shape (H, W). JPEG masks, whose values blur
        at the border, are cut at half of 255 and give 0 or 1.

    Raises:
        ImageReadError: As :func:`read_xray`.
    """
    try:
        data = _read_bytes(path)
        values = decode(data)
    except UnreadableError as error:
        raise ImageReadError(f'{path}: {error}') from error
    if values.ndim == 3:
        values = values[..., :3].max(-1)
    if data.startswith(JPEG_SIGNATURE):
        values = (values > 127).astype(np.uint8)
    return values


def decode(data: bytes) -> np.ndarray:
    """Decode a whole image file, refusing a damaged one.

    Args:
        data (bytes): Content of a PNG, JPEG, TIFF, BMP, GIF, .mha file.

    Returns:
        np.ndarray: Shape (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, of the
        depth that the file has.

    Raises:
        UnreadableError: Says what is wrong with the bytes.
    """
    if data.startswith(PNG_SIGNATURE):
        check_png(data)
        return _decode_cv2(data)
    if data.startswith(JPEG_SIGNATURE):
        check_jpeg(data)
        return _decode_cv2(data)
    if data.startswith(GIF_SIGNATURE) and not data.endswith(b';'):
        raise UnreadableError('the GIF is cut off (no trailer)')
    if is_metaimage(data):
        return decode_metaimage(data)
    return _decode_pillow(data)


def is_dicom(data: bytes, path: str = '') -> bool:
    """Return whether the preamble or, lacking one, the name is a DICOM's."""
    if data[128:132] == DICOM_SIGNATURE:
        return True
    return os.path.splitext(path)[1].lower() in ('.dcm', '.dicom')


def check_png(data: bytes) -> None:
    """Walk a PNG's chunks: all there, all checksums right.

    Raises:
        UnreadableError: If the file ends early or a checksum is wrong.
    """
    view = memoryview(data)
    position = len(PNG_SIGNATURE)
    while True:
        if position + 12 > len(view):
            raise UnreadableError('the PNG is cut off (no end chunk)')
        (length,) = struct.unpack_from('>I', view, position)
        end = position + 12 + length
        if end > len(view):
            raise UnreadableError('the PNG is cut off (a chunk ends early)')
        (expected,) = struct.unpack_from('>I', view, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != expected:
            raise UnreadableError('the PNG is damaged (wrong checksum)')
        if view[position + 4 : position + 8] == b'IEND':
            return
        position = end


def check_jpeg(data: bytes) -> None:
    """Walk a JPEG's segments up to the scan and look for its end marker.

    The marker is looked for after the start of the scan, since a thumbnail
    in the header has an end marker of its own.

    Raises:
        UnreadableError: If the file ends before the scan or within it.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        (length,) = struct.unpack_from('>H', data, position + 2)
        position += 2 + length
        if marker == 0xDA:  # start of scan
            if data.find(b'\xff\xd9', position) < 0:
                break
            return
    raise UnreadableError('the JPEG is cut off (no end marker)')


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, 'strerror', None) or str(error)
        raise UnreadableError(reason) from error
    if not data:
        raise UnreadableError('the file is empty (0 bytes)')
    return data


def _decode_cv2(data: bytes) -> np.ndarray:
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
        )
    except cv2.error as error:
        raise UnreadableError(f'cannot be decoded ({error.err})') from error
    if image is None:
        raise UnreadableError('cannot be decoded (the file is damaged)')
    return image


def _decode_pillow(data: bytes) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            # of a cut-off directory
            warnings.simplefilter('error', UserWarning)
            with Image.open(io.BytesIO(data)) as file:
                frames = getattr(file, 'n_frames', 1)
                if frames > 1:
                    raise UnreadableError(
                        f'has {frames} frames; save the X-ray as one'
                    )
                file.load()
                image: Image.Image = file
                bits = getattr(image, 'tag_v2', {}).get(BITS_PER_SAMPLE, (8,))
                if image.mode.startswith('RGB') and max(bits) > 8:
                    # Pillow would keep the upper 8 bits only
                    return _decode_cv2(data)
                if image.mode == '1':
                    image = image.convert('L')
                elif image.mode not in ('L', 'F') and image.mode[0] != 'I':
                    image = image.convert('RGB')
                values = np.asarray(image)
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError(
            'is not a PNG, JPEG, TIFF, BMP, GIF, DICOM or .mha file'
        ) from error
    except Exception as error:  # damaged files make Pillow raise any kind
        raise UnreadableError(f'cannot be decoded ({error})') from error
    if values.ndim == 3:
        values = values[..., ::-1]
    return values.astype(values.dtype.newbyteorder('='), copy=False)
