"""Reading X-rays: PNG, JPEG, TIFF, DICOM, .mha and more to 8-bit grey."""

import os
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from PIL import Image

from fx_mm.image_io.decisions import Decisions, log_warnings
from fx_mm.image_io.errors import ImageReadError, UnreadableError
from fx_mm.image_io.metaimage import (
    JSRT_WHITE,
    decode_jsrt,
    decode_metaimage,
    is_jsrt,
    is_metaimage,
)
from fx_mm.image_io.orientation import read_orientation
from fx_mm.image_io.pixels import check_percentiles, to_grey, to_uint8
from fx_mm.image_io.raster import Decoded, decode_raster
from fx_mm.image_io.tiff import decode_tiff, is_tiff
from fx_mm.utils.foreign_files import name_foreign_file

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
DICOM_SIGNATURE = b'DICM'


@overload
def read_xray(
    path: str,
    decisions: Literal[False] = False,
    percentiles: Sequence[float] | None = None,
) -> np.ndarray: ...


@overload
def read_xray(
    path: str,
    decisions: Literal[True],
    percentiles: Sequence[float] | None = None,
) -> tuple[np.ndarray, dict[str, Any]]: ...


def read_xray(
    path: str,
    decisions: bool = False,
    percentiles: Sequence[float] | None = None,
) -> np.ndarray | tuple[np.ndarray, dict[str, Any]]:
    """Read an X-ray as 8-bit grey, upright, with bone bright.

    8-bit files keep their values; deeper ones are mapped linearly from their
    own value range to 0..255 (DICOM: from the window, where it has one that
    fits). Colours become luminance, an alpha channel is dropped. What is
    stored inverse (DICOM, TIFF, JSRT's optical densities) is inverted, and
    what an EXIF or TIFF orientation tag says is turned.

    Args:
        path (str): Path of a PNG, JPEG, TIFF, BMP, GIF, DICOM or MetaImage
            (.mha) file. The content decides the format, not the name; only
            JSRT's, which has no header, goes by its name (.IMG).
        decisions (bool): Whether to return also what was decided; without,
            the first warning of each kind in this process is logged.
            Defaults to False.
        percentiles (Sequence[float], optional): Low and high percentile of
            the values that become 0 and 255, instead of the whole range, for
            deeper files without a window: a bright letter or a dead pixel
            then darkens nothing. Such as (0.5, 99.5). Defaults to None.

    Returns:
        np.ndarray: uint8 of shape (H, W). With ``decisions``, a tuple of it
        and a dict with ``format``, ``depth`` (bits stored), ``photometric``,
        ``orientation`` (1 to 8, that was applied), ``inverted``, ``mapping``
        (``as stored``, ``window``, ``VOI LUT``, ``value range`` or
        ``percentiles``), ``range`` (the two values of the file that became
        0 and 255, or None), ``rescale`` (slope and intercept of a DICOM, or
        None) and ``warnings`` (a list of sentences).

    Raises:
        ImageReadError: If the file is missing, cut off, damaged, has several
            frames, or is of an unknown format.
        UserError: If the percentiles are not valid.
    """
    check_percentiles(percentiles)
    try:
        image, made = _read_xray(path, percentiles)
    except UnreadableError as error:
        raise ImageReadError(f'{path}: {error}') from error
    if decisions:
        return image, made.to_dict()
    log_warnings(path, made)
    return image


def read_size(path: str) -> tuple[int, int]:
    """Read the height and width that :func:`read_xray` returns.

    From the file's header where Pillow knows it, since a dataset may have
    100,000 images.

    Args:
        path (str): Path of the file.

    Returns:
        tuple[int]: Pixels of the upright image.

    Raises:
        ImageReadError: As :func:`read_xray`.
    """
    try:
        with open(path, 'rb') as file:
            turned = read_orientation(file, Decisions('header')) >= 5
            file.seek(0)
            with Image.open(file) as image:
                width, height = image.size
                if image.format != 'TIFF':  # whose size may be turned already
                    return (width, height) if turned else (height, width)
    except Exception:  # damaged headers make Pillow raise any kind
        pass
    height, width = read_xray(path).shape
    return height, width


def decode(data: bytes) -> Decoded:
    """Decode a whole image file, refusing a damaged one.

    Args:
        data (bytes): Content of a PNG, JPEG, TIFF, BMP, GIF, .mha file.

    Returns:
        Decoded: The pixels, upright, and what was decided.

    Raises:
        UnreadableError: Says what is wrong with the bytes.
    """
    if is_tiff(data):
        return decode_tiff(data)
    if is_metaimage(data):
        values = decode_metaimage(data)
        depth = 8 * values.dtype.itemsize
        return Decoded(values, Decisions('MetaImage', depth))
    return decode_raster(data)


def is_dicom(data: bytes, path: str = '') -> bool:
    """Return whether the preamble or, lacking one, the name is a DICOM's."""
    if data[128:132] == DICOM_SIGNATURE:
        return True
    return os.path.splitext(path)[1].lower() in ('.dcm', '.dicom')


def read_bytes(path: str) -> bytes:
    """Read a file that should be an image.

    Raises:
        UnreadableError: If it is missing, empty, or lies there instead of
            the image, such as a pointer of Git LFS.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, 'strerror', None) or str(error)
        raise UnreadableError(reason) from error
    if not data:
        raise UnreadableError('the file is empty (0 bytes)')
    foreign = None if is_dicom(data) else name_foreign_file(data)
    if foreign is not None:
        raise UnreadableError(foreign)
    return data


def _read_xray(
    path: str, percentiles: Sequence[float] | None
) -> tuple[np.ndarray, Decisions]:
    data = read_bytes(path)
    if is_dicom(data, path):
        # pydicom takes 0.3 s to import, which PNG users need not wait for
        from fx_mm.image_io.dicom import decode_dicom

        return decode_dicom(data, percentiles)
    if is_jsrt(path):
        decisions = Decisions('JSRT', 12, 'optical density', inverted=True)
        decoded = Decoded(decode_jsrt(data), decisions, JSRT_WHITE)
    else:
        decoded = decode(data)
    values, decisions, white = decoded
    image = to_uint8(to_grey(values), decisions, percentiles)
    if white is not None and decisions.range is not None:
        low, high = decisions.range
        decisions.range = [white - high, white - low]
    return image, decisions
