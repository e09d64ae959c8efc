"""How an image is turned: the Orientation tag of EXIF, XMP and TIFF.

Cameras and phones store a picture as the sensor sees it and say in a tag how
to turn it. All that shows the picture turns it (Pillow's exif_transpose, mmcv,
viewers), so who draws boxes and masks does that on the upright picture. Every
reader of images and masks here turns it too.
"""

import io
import struct
import warnings
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from fx_mm.image_io.decisions import Decisions

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
PNG_TEXTS = (b'tEXt', b'zTXt', b'iTXt')
PNG_KEYWORDS = (b'Raw profile type exif\0', b'XML:com.adobe.xmp\0')


def read_orientation(file: BinaryIO, decisions: Decisions) -> int:
    """Read the Orientation tag of an image file.

    Args:
        file (BinaryIO): The file, at its start.
        decisions (Decisions): Takes the orientation, and a warning where the
            tag is not one of 1 to 8 or cannot be read.

    Returns:
        int: 1 to 8; 1 without a tag.
    """
    if not _may_have_tag(file):
        return 1
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error')  # Pillow's way to say "corrupt"
            with Image.open(file) as image:
                tag = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # damaged EXIF makes Pillow raise any kind
        decisions.warn(
            'EXIF',
            f'The EXIF data cannot be read ({" ".join(str(error).split())}); '
            'the picture is taken as stored.',
        )
        return 1
    return note_orientation(tag, decisions)


def note_orientation(tag: Any, decisions: Decisions) -> int:
    """Note the value of an Orientation tag among the decisions.

    Args:
        tag (Any): The value.
        decisions (Decisions): Takes it, or a warning if it is not 1 to 8.

    Returns:
        int: 1 to 8.
    """
    if tag not in range(1, 9):
        decisions.warn(
            'orientation',
            f'The orientation tag is {tag!r}, not 1 to 8; the picture is '
            'taken as stored.',
        )
        return 1
    decisions.orientation = int(tag)
    return decisions.orientation


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels as the Orientation tag says (EXIF 2.32, section 4.6.4).

    Args:
        pixels (np.ndarray): Shape (H, W) or (H, W, C), as stored.
        orientation (int): 1 to 8.

    Returns:
        np.ndarray: Upright; of 5 to 8, height and width are exchanged.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flips = {2: 'x', 3: 'xy', 4: 'y', 6: 'x', 7: 'xy', 8: 'y'}
    flip = flips.get(orientation, '')
    if 'y' in flip:
        pixels = pixels[::-1]
    if 'x' in flip:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _may_have_tag(file: BinaryIO) -> bool:
    """Return whether the file could have a tag.

    Pillow decodes a PNG as a whole to answer, since the tag may be behind
    the pixels. So its chunks are looked at here.
    """
    start = file.read(len(PNG_SIGNATURE))
    if start[:2] == b'BM':  # a BMP has none
        return False
    if start != PNG_SIGNATURE:
        return True
    while len(header := file.read(8)) == 8:
        length, name = struct.unpack('>I4s', header)
        if name == b'eXIf':
            return True
        text = file.read(min(length, 32)) if name in PNG_TEXTS else b''
        if text.startswith(PNG_KEYWORDS):
            return True
        file.seek(length + 4 - len(text), io.SEEK_CUR)
    return False
