"""PNG, JPEG, GIF, BMP and what else Pillow knows to pixels.

Image decoders are forgiving: they return what they could read of a cut-off
file and fill the rest with grey. A network learns from that without a word,
so every file is checked for being whole before it is decoded.
"""

import io
import struct
import warnings
import zlib
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from fx_mm.image_io import jpeg
from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.errors import UnreadableError
from fx_mm.image_io.orientation import (
    PNG_SIGNATURE,
    read_orientation,
    turn_upright,
)

SEVERAL = 'has {} frames; save the X-ray as one'
GIF_SIGNATURE = b'GIF8'
PNG_COLOURS = {0: 'grey', 2: 'RGB', 3: 'palette', 4: 'grey, alpha', 6: 'RGBA'}


class Decoded(NamedTuple):
    """Pixels of a file, upright, with high values bright.

    Attributes:
        values (np.ndarray): Shape (H, W), (H, W, 3) BGR or (H, W, 4) BGRA,
            of the depth that the file has.
        decisions (Decisions): What was decided so far.
        white (float, optional): If the file has high values dark, the values
            are this number minus the file's. Defaults to None.
    """

    values: np.ndarray
    decisions: Decisions
    white: float | None = None


def decode_raster(data: bytes) -> Decoded:
    """Decode a whole image file, refusing a damaged one.

    Args:
        data (bytes): Content of a PNG, JPEG, BMP, GIF or other file that
            Pillow knows, but of no TIFF.

    Returns:
        Decoded: The pixels.

    Raises:
        UnreadableError: Says what is wrong with the bytes.
    """
    if data.startswith(PNG_SIGNATURE):
        values, decisions = _decode_png(data)
    elif data.startswith(jpeg.SIGNATURE):
        values, decisions = jpeg.decode_jpeg(data)
    else:
        if data.startswith(GIF_SIGNATURE) and not data.endswith(b';'):
            raise UnreadableError('the GIF is cut off (no trailer)')
        values, decisions = _decode_pillow(data)
    orientation = read_orientation(io.BytesIO(data), decisions)
    return Decoded(turn_upright(values, orientation), decisions)


def check_png(data: bytes) -> dict[bytes, slice]:
    """Walk a PNG's chunks: all there, all checksums right.

    Returns:
        dict[bytes, slice]: Name of a chunk to the place of the first one.

    Raises:
        UnreadableError: If the file ends early or a checksum is wrong.
    """
    view = memoryview(data)
    chunks: dict[bytes, slice] = {}
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
        name = bytes(view[position + 4 : position + 8])
        chunks.setdefault(name, slice(position, end))
        if name == b'IEND':
            return chunks
        position = end


def decode_cv2(data: bytes) -> np.ndarray:
    """Decode with OpenCV, which keeps all bits and turns nothing.

    Raises:
        UnreadableError: If it cannot.
    """
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
        )
    except cv2.error as error:
        raise UnreadableError(f'cannot be decoded ({error.err})') from error
    if image is None:
        raise UnreadableError('cannot be decoded (the file is damaged)')
    return image


def open_pillow(data: bytes) -> Image.Image:
    """Open a file of one frame with Pillow and load its pixels.

    Raises:
        UnreadableError: If it has several frames, is damaged or unknown.
    """
    try:
        with warnings.catch_warnings():
            # of a cut-off directory
            warnings.simplefilter('error', UserWarning)
            with Image.open(io.BytesIO(data)) as file:
                frames = getattr(file, 'n_frames', 1)
                if frames > 1:
                    raise UnreadableError(SEVERAL.format(frames))
                file.load()
                return file
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError(
            'is not a PNG, JPEG, TIFF, BMP, GIF, DICOM or .mha file'
        ) from error
    except Exception as error:  # damaged files make Pillow raise any kind
        raise UnreadableError(f'cannot be decoded ({error})') from error


def pixels_of(image: Image.Image) -> np.ndarray:
    """Return the pixels of a Pillow image, colours as BGR.

    Returns:
        np.ndarray: Shape (H, W), or (H, W, 3).
    """
    if image.mode == '1':
        image = image.convert('L')
    elif image.mode not in ('L', 'F') and image.mode[0] != 'I':
        image = image.convert('RGB')
    values = np.asarray(image)
    if values.ndim == 3:
        values = values[..., ::-1]
    return values.astype(values.dtype.newbyteorder('='), copy=False)


def _decode_png(data: bytes) -> tuple[np.ndarray, Decisions]:
    chunks = check_png(data)
    decisions = Decisions('PNG', data[24], PNG_COLOURS.get(data[25], ''))
    if b'acTL' in chunks:
        (frames,) = struct.unpack_from('>I', data, chunks[b'acTL'].start + 8)
        if frames > 1:
            raise UnreadableError(SEVERAL.format(frames))
    if decisions.photometric == 'palette' and b'PLTE' in chunks:
        place = chunks[b'PLTE']
        colours = (place.stop - place.start - 12) // 3
        if colours < 2**decisions.depth:
            highest = np.asarray(open_pillow(data).getchannel(0)).max()
            if highest >= colours:
                raise UnreadableError(
                    f'the PNG has the palette index {highest}, but its '
                    f'palette has {colours} colours'
                )
    return decode_cv2(data), decisions


def _decode_pillow(data: bytes) -> tuple[np.ndarray, Decisions]:
    image = open_pillow(data)
    values = pixels_of(image)
    depth = 1 if image.mode == '1' else 8 * values.dtype.itemsize
    grey = values.ndim == 2
    photometric = {'P': 'palette'}.get(image.mode, image.mode)
    return values, Decisions(
        image.format or 'unknown', depth, 'grey' if grey else photometric
    )
