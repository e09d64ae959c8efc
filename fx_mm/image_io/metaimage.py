"""Pixels with little or no header: MetaImage (.mha) and JSRT (.IMG)."""

import math
import os
import zlib

import numpy as np

from fx_mm.image_io.errors import UnreadableError

METAIMAGE_SIGNATURES = (b'ObjectType', b'NDims')
METAIMAGE_TYPES = dict(
    MET_CHAR='i1',
    MET_UCHAR='u1',
    MET_SHORT='i2',
    MET_USHORT='u2',
    MET_INT='i4',
    MET_UINT='u4',
    MET_LONG_LONG='i8',
    MET_ULONG_LONG='u8',
    MET_FLOAT='f4',
    MET_DOUBLE='f8',
)
HEADER_BYTES = 2**16
JSRT_WHITE = 4095


def is_metaimage(data: bytes) -> bool:
    """Return whether the header begins as a MetaImage's does."""
    return data.startswith(METAIMAGE_SIGNATURES)


# Not by SimpleITK, which reads a damaged file in silence: of 300 deflated
# files with one wrong byte it returned 297 with wrong pixels (version 2.5.7);
# this refuses all, by zlib's checksum. The tests compare the two.
def decode_metaimage(data: bytes) -> np.ndarray:
    """Decode a MetaImage with one frame, as NODE21 has them.

    Args:
        data (bytes): Content of a ``.mha`` file: header lines ``key = value``
            up to ``ElementDataFile = LOCAL``, then the pixels, row by row,
            plain or deflated.

    Returns:
        np.ndarray: Shape (H, W), of the type that the header names.

    Raises:
        UnreadableError: If the header lacks something, the file is cut off,
            or has several frames or channels.
    """
    header, start = _header(data)
    try:
        sizes = [int(size) for size in header['DimSize'].split()]
        code = METAIMAGE_TYPES[header['ElementType']]
    except (KeyError, ValueError) as error:
        raise UnreadableError(
            f'the MetaImage header has no usable {error}'
        ) from error
    channels = header.get('ElementNumberOfChannels', '1')
    if len(sizes) < 2 or min(sizes) < 1 or channels != '1':
        raise UnreadableError(
            f'the MetaImage has the size {header["DimSize"]} and {channels} '
            'channels; save the X-ray as one grey image'
        )
    if math.prod(sizes[2:]) > 1:
        raise UnreadableError(
            f'has {math.prod(sizes[2:])} frames; save the X-ray as one'
        )
    msb = header.get('BinaryDataByteOrderMSB') or header.get(
        'ElementByteOrderMSB', 'False'
    )
    dtype = np.dtype(('>' if msb.lower() == 'true' else '<') + code)
    expected = math.prod(sizes) * dtype.itemsize
    pixels = data[start:]
    if header.get('CompressedData', 'False').lower() == 'true':
        unpacker = zlib.decompressobj()
        try:
            # one byte more than needed, so that the checksum is read
            pixels = unpacker.decompress(pixels, expected + 1)
        except zlib.error as error:
            raise UnreadableError(
                f'the MetaImage is damaged ({error})'
            ) from error
        if not unpacker.eof:
            raise UnreadableError(
                'the MetaImage is cut off (its deflated pixels do not end)'
            )
    if len(pixels) < expected:
        raise UnreadableError(
            f'the MetaImage is cut off ({len(pixels)} of {expected} bytes)'
        )
    values = np.frombuffer(pixels, dtype, math.prod(sizes))
    # the first size is the one that runs fastest: the width
    values = values.reshape(sizes[1], sizes[0])
    return values.astype(dtype.newbyteorder('='), copy=False)


def _header(data: bytes) -> tuple[dict[str, str], int]:
    """Return the header's keys and where the pixels start."""
    header: dict[str, str] = {}
    start = 0
    while 'ElementDataFile' not in header:
        end = data.find(b'\n', start, HEADER_BYTES)
        if end < 0:
            raise UnreadableError('the MetaImage header has no end')
        key, _, value = data[start:end].decode('latin-1').partition('=')
        header[key.strip()] = value.strip()
        start = end + 1
    if header['ElementDataFile'] != 'LOCAL':
        raise UnreadableError(
            'the MetaImage keeps its pixels in another file '
            f'({header["ElementDataFile"]}); save it as one .mha file'
        )
    if header.get('BinaryData', 'True').lower() != 'true':
        raise UnreadableError('the MetaImage has its pixels as text')
    return header, start


def is_jsrt(path: str) -> bool:
    """Return whether the name is one of JSRT's files, which lack headers."""
    return os.path.splitext(path)[1].lower() == '.img'


def decode_jsrt(data: bytes) -> np.ndarray:
    """Decode JSRT's raw format: 12 bits in 16, big-endian, square.

    The values are optical densities, of which bone has low ones, and are
    inverted, so that bone is bright as in other images.

    Args:
        data (bytes): Content of the file; officially 2048 x 2048 pixels.

    Returns:
        np.ndarray: uint16 of shape (H, W), 0 to 4095.

    Raises:
        UnreadableError: If size or values are not those of such a file.
    """
    side = math.isqrt(len(data) // 2)
    if 2 * side * side != len(data):
        raise UnreadableError(
            f'has {len(data)} bytes, which are not a square of 16-bit pixels '
            '(JSRT: 8388608); the file is cut off, or not of JSRT'
        )
    values = np.frombuffer(data, '>u2').reshape(side, side)
    if values.max() > JSRT_WHITE:
        raise UnreadableError(
            f'has the value {values.max()}, but JSRT has 12 bits, the higher '
            'byte first'
        )
    return (JSRT_WHITE - values).astype(np.uint16)
