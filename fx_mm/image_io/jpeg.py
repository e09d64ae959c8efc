"""JPEG to pixels; a damaged one is refused.

Of damaged data, libjpeg decodes what it can, fills the rest with grey and
prints a line; OpenCV, Pillow and torchvision leave it at that. simplejpeg has
the same library, gives the same values in the same time, and stops there.
"""

import re
import struct

import numpy as np
import simplejpeg

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.errors import UnreadableError

SIGNATURE = b'\xff\xd8\xff'
COLOURS = {1: 'grey', 3: 'YCbCr', 4: 'CMYK'}
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
START, END, SCAN = b'\xff\xd8', b'\xff\xd9', 0xDA
BEHIND = re.compile(r'(\d+) extraneous bytes before marker 0xd9')
FEW = 2
"""So many bytes behind the last pixel, and any number of zeros, may be the
writer's; others are pixels that got out of step."""


def decode_jpeg(data: bytes) -> tuple[np.ndarray, Decisions]:
    """Decode a whole JPEG, as it is stored.

    Args:
        data (bytes): Content of the file.

    Returns:
        tuple: uint8 of shape (H, W), or (H, W, 3) BGR, and what was decided.

    Raises:
        UnreadableError: If it is cut off, damaged or has more bits than the
            decoder knows.
    """
    depth, samples = check_jpeg(data)
    if depth != 8:
        raise UnreadableError(
            f'the JPEG has {depth} bits per sample, which the decoder '
            'does not know; save it as PNG or TIFF with 16 bits'
        )
    decisions = Decisions('JPEG', depth, COLOURS.get(samples, ''))
    return decode_strictly(data, samples, decisions), decisions


def decode_strictly(
    data: bytes, samples: int, decisions: Decisions
) -> np.ndarray:
    """Decode 8 bits per sample, and refuse what libjpeg only warns of.

    Args:
        data (bytes): A JPEG, of a file or from within one.
        samples (int): 1 for grey, else colours become BGR.
        decisions (Decisions): Takes a warning of superfluous bytes.

    Returns:
        np.ndarray: uint8 of shape (H, W), or (H, W, 3) BGR.

    Raises:
        UnreadableError: If it is damaged.
    """
    space = 'GRAY' if samples == 1 else 'BGR'
    try:
        values = simplejpeg.decode_jpeg(data, space)
    except ValueError as error:
        reason = ' '.join(str(error).split())
        behind = BEHIND.search(reason)
        if behind is None or not _is_padding(data, int(behind[1])):
            raise UnreadableError(
                f'the JPEG is damaged inside ({reason})'
            ) from error
        values = simplejpeg.decode_jpeg(data, space, strict=False)
        decisions.warn(
            'JPEG',
            f'The JPEG has {behind[1]} bytes too many behind its pixels; it '
            'may be damaged.',
        )
    return values[..., 0] if samples == 1 else values


def _is_padding(data: bytes, count: int) -> bool:
    end = data.rfind(END)
    return count <= FEW or not any(data[end - count : end])


def check_jpeg(data: bytes) -> tuple[int, int]:
    """Walk a JPEG's segments up to the scan and look for its end marker.

    The marker is looked for after the start of the scan, since a thumbnail
    in the header has an end marker of its own.

    Returns:
        tuple[int]: Bits per sample, and the number of samples.

    Raises:
        UnreadableError: If the file ends before the scan or within it.
    """
    position = 2
    depth, samples = 8, 1
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        (length,) = struct.unpack_from('>H', data, position + 2)
        if marker in FRAMES and position + 10 <= len(data):
            depth, samples = data[position + 4], data[position + 9]
        position += 2 + length
        if marker == SCAN:
            if data.find(END, position) < 0:
                break
            return depth, samples
    raise UnreadableError('the JPEG is cut off (no end marker)')
