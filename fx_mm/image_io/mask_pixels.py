"""The pixels of a mask file as they are stored.

An X-ray is a picture, a mask is a table of numbers: the index of a palette
counts and not its colour, and a file of 1, 2 or 4 bits keeps its values
instead of being stretched to 0..255.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.errors import ImageReadError, UnreadableError
from fx_mm.image_io.orientation import turn_upright
from fx_mm.image_io.raster import Decoded, open_pillow
from fx_mm.image_io.tiff import COMPRESSION, Directory
from fx_mm.image_io.xray import decode, is_dicom, read_bytes

JPEG_IN_TIFF = (6, 7, 33003, 33005, 34712)
"""Compressions of a TIFF that are JPEG, old and new, and JPEG 2000."""
LOSSY_WEBP = b'VP8 '


class MaskPixels(NamedTuple):
    """What a mask file holds, upright.

    Attributes:
        values (np.ndarray): (H, W), or (H, W, 3) BGR, (H, W, 4) BGRA. Of a
            palette image, the indices.
        white (int): Largest value of the file's depth.
        decisions (Decisions): How the file was read; takes warnings.
        colors (np.ndarray, optional): uint8 (n, 3), RGB of each index of a
            palette image. Defaults to None.
        lossy (bool): Whether it is a JPEG, or compressed like one, whose
            values blur. Defaults to False.
    """

    values: np.ndarray
    white: int
    decisions: Decisions
    colors: np.ndarray | None = None
    lossy: bool = False


def read_mask_pixels(path: str) -> MaskPixels:
    """Read a mask file.

    Args:
        path (str): Path of a PNG, JPEG, TIFF, BMP, GIF or .mha file.

    Raises:
        ImageReadError: If it is missing, cut off, damaged, has several
            frames, or is of an unknown format.
    """
    try:
        data = read_bytes(path)
        if is_dicom(data):
            raise UnreadableError('is a DICOM file; save the mask as PNG')
        return _pixels(data, decode(data))
    except UnreadableError as error:
        raise ImageReadError(f'{path}: {error}') from error


def _pixels(data: bytes, decoded: Decoded) -> MaskPixels:
    values, decisions, white = decoded
    depth = decisions.depth
    lossy = _is_lossy(data, decisions.format)
    if white is not None and values.ndim == 2 and not lossy:
        values = _not_inverted(values, white, decisions)
    if decisions.photometric == 'palette':
        image = open_pillow(data)
        if image.mode in ('P', 'PA'):
            indices = _upright(image.getchannel(0), decisions)
            colors = np.array(image.getpalette('RGB'), np.uint8)
            return MaskPixels(indices, 255, decisions, colors.reshape(-1, 3))
    if values.ndim == 3:
        if values.shape[2] == 3 and decisions.format not in ('PNG', 'JPEG'):
            values = _with_alpha(data, values, decisions)
    elif depth < 8:  # decoders stretch it to 8 bits
        most = 2**depth - 1
        values = values // np.uint8(255 // most)
        return MaskPixels(values, most, decisions)
    most = 65535 if values.dtype == np.uint16 else 255
    return MaskPixels(values, most, decisions, lossy=lossy)


def _not_inverted(
    values: np.ndarray, white: float, decisions: Decisions
) -> np.ndarray:
    """Take back that a TIFF's dark values are high, where they are labels.

    Of a picture, 0 is white then. Of small numbers such as 0 to 3, few
    writers of masks mean that: they are the values of the classes.
    """
    if abs(white) >= 2**53 or decisions.depth == 1:
        return values
    stored = values.dtype.type(white) - values
    if white > 0 and not stored.any():
        decisions.warn(
            'white',
            'All pixels of the TIFF are 0, which it says is white, so that '
            'they count as the highest value.',
        )
        return values
    highest = white // 2 if white > 0 else np.inf
    if stored.min() < 0 or stored.max() > highest:
        return values
    decisions.inverted = False
    return stored


def _is_lossy(data: bytes, file_format: str) -> bool:
    if file_format == 'TIFF':
        return Directory(data).number(COMPRESSION, 1) in JPEG_IN_TIFF
    return file_format == 'JPEG' or data[12:16] == LOSSY_WEBP


def _with_alpha(
    data: bytes, values: np.ndarray, decisions: Decisions
) -> np.ndarray:
    """Add the alpha channel, which pictures are read without."""
    if values.dtype != np.uint8:
        return values
    image = open_pillow(data)
    if image.mode not in ('LA', 'RGBA'):
        return values
    alpha = _upright(image.getchannel('A'), decisions)
    return np.dstack([values, alpha])


def _upright(channel: Image.Image, decisions: Decisions) -> np.ndarray:
    if decisions.format == 'TIFF':  # Pillow has turned it
        return np.array(channel)
    return turn_upright(np.array(channel), decisions.orientation)
