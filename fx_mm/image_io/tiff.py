"""TIFF to pixels: every depth, sample format and byte order of a grey image.

Pillow and OpenCV know some of the combinations each, read a few wrongly
(unsigned 32 bits as signed) and invert nothing deep that has 0 for white. So
the directory is read here, and a deep image is described anew: as a type that
OpenCV's libtiff hands through bit by bit. Up to 8 bits go through Pillow.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import UnidentifiedImageError

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.errors import UnreadableError
from fx_mm.image_io.jpeg import check_jpeg, decode_strictly
from fx_mm.image_io.orientation import note_orientation, turn_upright
from fx_mm.image_io.raster import (
    SEVERAL,
    Decoded,
    decode_cv2,
    open_pillow,
    pixels_of,
)

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, TILE_WIDTH, FORMAT = 274, 277, 284, 322, 339
ROWS_PER_STRIP = 278
PARTS = ((273, 279), (324, 325))
"""Tags of where strips or tiles are, and of their sizes."""
PHOTOMETRICS = {
    0: 'MinIsWhite',
    1: 'MinIsBlack',
    2: 'RGB',
    3: 'palette',
    5: 'CMYK',
    6: 'YCbCr',
    8: 'CIELab',
}
CCITT = (2, 3, 4)
JPEG, JPEG_TABLES = 7, 347
DEFLATE = (8, 32946)
CHUNK = 2**20
"""Bytes that are decompressed at a time, only to check them."""
USUAL = (1, *CCITT, 5, 6, JPEG, *DEFLATE, 32773)
"""Compressions that the decoders know at every depth they are for."""
RARE = {
    34712: 'JPEG 2000',
    34887: 'LERC',
    34925: 'LZMA',
    50000: 'Zstandard',
    50001: 'WebP',
    50002: 'JPEG XL',
}
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
KINDS = {UNSIGNED: 'u', SIGNED: 'i', FLOAT: 'f', UNDEFINED: 'u'}
DEPTHS = {'u': range(1, 65), 'i': (8, 16, 32, 64), 'f': (16, 32, 64)}
HANDED_THROUGH = {8: SIGNED, 16: UNSIGNED, 32: SIGNED, 64: FLOAT}
"""Bits to the sample format of which OpenCV changes no bit."""
SEPARATE = 2
SHORT, LONG = 3, 4
NUMBER_TYPES = {1: 'B', 7: 'B', SHORT: 'H', LONG: 'I', 16: 'Q', 18: 'Q'}


def is_tiff(data: bytes) -> bool:
    """Return whether the header is a TIFF's or a BigTIFF's."""
    return data[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')


def decode_tiff(data: bytes) -> Decoded:
    """Decode a TIFF of one page.

    Args:
        data (bytes): Content of the file.

    Returns:
        Decoded: Grey of any depth, in the type that the file names; colours
        of 8 or 16 bits.

    Raises:
        UnreadableError: If the file is cut off, damaged, has several pages,
            or a form that cannot be read.
    """
    directory = Directory(data)
    try:
        return _decode(directory, data)
    except UnreadableError as error:
        compression = directory.number(COMPRESSION, 1)
        undecodable = str(error).startswith('cannot be decoded')
        if not undecodable or compression in USUAL:
            raise
        name = RARE.get(compression, f'number {compression}')
        raise UnreadableError(
            f'cannot be decoded; its compression, {name}, is one that few '
            'decoders know: save the TIFF with LZW, Deflate or none'
        ) from error


def _decode(directory: 'Directory', data: bytes) -> Decoded:
    if directory.pages > 1:
        raise UnreadableError(SEVERAL.format(directory.pages))
    bits = _only(directory.numbers(BITS) or (1,), 'BitsPerSample')
    form = _only(directory.numbers(FORMAT) or (UNSIGNED,), 'SampleFormat')
    samples = directory.number(SAMPLES, 1)
    decisions = Decisions('TIFF', bits)
    photometric = directory.number(PHOTOMETRIC, -1)
    if photometric < 0:
        bilevel = directory.number(COMPRESSION, 1) in CCITT
        photometric = 2 if samples >= 3 else 0 if bilevel else 1
        data = directory.rewritten({PHOTOMETRIC: photometric})
        decisions.warn(
            'photometric',
            'The TIFF has no PhotometricInterpretation; '
            f'{PHOTOMETRICS[photometric]} is taken.',
        )
    decisions.photometric = PHOTOMETRICS.get(photometric, str(photometric))
    orientation = note_orientation(directory.number(ORIENTATION, 1), decisions)
    _check_parts(directory, decisions)
    grey = photometric in (0, 1) and samples == 1
    plain = form == UNSIGNED and bits in (1, 2, 4, 8)
    white = None
    unknown = (
        f'the TIFF has {samples} samples of {bits} bits per pixel (sample '
        f'format {form}, {decisions.photometric}), which cannot be read; save '
        'it as grey with 8 or 16 bits'
    )
    if plain and not (grey and directory.unknown_to_pillow):
        try:
            values = pixels_of(open_pillow(data))  # turned, and inverted
        except UnreadableError as error:
            if isinstance(error.__cause__, UnidentifiedImageError):
                raise UnreadableError(unknown) from error
            raise
        white = 255.0 if photometric == 0 else None
    elif grey and bits in DEPTHS.get(KINDS.get(form, ''), ()):
        values = _read_grey(directory, bits, KINDS[form])
        if photometric == 0:
            values, white = _inverted(values, bits)
        values = turn_upright(values, orientation)
    elif (
        (photometric, form, bits) == (2, UNSIGNED, 16)
        and samples in (3, 4)
        # OpenCV mixes planes up
        and directory.number(PLANAR, 1) != SEPARATE
    ):
        upright = directory.rewritten({ORIENTATION: 1})
        values = turn_upright(decode_cv2(upright), orientation)
    else:
        raise UnreadableError(unknown)
    decisions.inverted = white is not None
    return Decoded(values, decisions, white)


def _check_parts(directory: 'Directory', decisions: Decisions) -> None:
    """Refuse damaged strips and tiles, of which libtiff says nothing.

    It hands on what libjpeg fills in, does not compare the checksum of what
    is deflated, and leaves missing strips black.
    """
    compression = directory.number(COMPRESSION, 1)
    tables = bytes(directory.numbers(JPEG_TABLES))
    parts = list(directory.parts())
    for part in parts:
        if compression == JPEG:
            # what several share, without its end, and theirs without start
            data = tables[:-2] + bytes(part[2:] if tables else part)
            bits, samples = check_jpeg(data)
            if bits == 8:
                decode_strictly(data, samples, decisions)
        elif compression in DEFLATE:
            _check_deflated(part)
    height = directory.number(HEIGHT, 0)
    rows = directory.number(ROWS_PER_STRIP, height)
    strips = -(-height // max(1, rows))
    if directory.number(PLANAR, 1) == SEPARATE:
        strips *= directory.number(SAMPLES, 1)
    if len(parts) < strips and not directory.numbers(TILE_WIDTH):
        raise UnreadableError(
            f'the TIFF is damaged ({len(parts)} of {strips} strips are there)'
        )


def _check_deflated(data: memoryview) -> None:
    engine, rest = zlib.decompressobj(), bytes(data)
    try:
        while engine.decompress(rest, CHUNK) or engine.unconsumed_tail:
            rest = engine.unconsumed_tail
    except zlib.error as error:
        raise UnreadableError(f'the TIFF is damaged ({error})') from error


def _only(numbers: tuple[int, ...], tag: str) -> int:
    """Return what all samples have."""
    if len(set(numbers)) > 1:
        raise UnreadableError(
            f'the TIFF has the {tag} {numbers}; save it with one for all'
        )
    return numbers[0]


def _read_grey(directory: 'Directory', bits: int, kind: str) -> np.ndarray:
    """Read numbers of one sample per pixel, as stored and not turned."""
    shape = directory.number(HEIGHT, 0), directory.number(WIDTH, 0)
    plain = {PHOTOMETRIC: 1, ORIENTATION: 1}
    if bits in (16, 32, 64):
        plain[FORMAT] = HANDED_THROUGH[bits]
        values = decode_cv2(directory.rewritten(plain))
        values = values.view(f'{kind}{bits // 8}')
    else:
        # rows of bytes, each ending with a whole one
        plain |= {BITS: 8, FORMAT: UNSIGNED}
        for tag in (WIDTH, TILE_WIDTH):
            if pixels := directory.number(tag, 0):
                plain[tag] = -(-pixels * bits // 8)
        if directory.unknown_to_pillow:
            plain[FORMAT] = HANDED_THROUGH[8]
            values = decode_cv2(directory.rewritten(plain))
        else:
            values = np.asarray(open_pillow(directory.rewritten(plain)))
        if bits == 8:
            values = values.view(f'{kind}1')
        else:
            values = values.view(np.uint8)
            values = _unpacked(values, bits, directory.order)[:, : shape[1]]
    if values.shape != shape:
        raise UnreadableError('cannot be decoded (the file is damaged)')
    return values


def _unpacked(rows: np.ndarray, bits: int, order: str) -> np.ndarray:
    """Take numbers of any number of bits from rows of bytes.

    Numbers of whole bytes have the file's byte order; others follow one
    another bit by bit, the highest first.
    """
    height, width = len(rows), rows.shape[1] * 8 // bits
    digits = np.unpackbits(rows[:, : -(-width * bits // 8)], axis=1)
    digits = digits[:, : width * bits].reshape(height, width, bits)
    if bits % 8 == 0 and order == '<':
        digits = digits.reshape(height, width, -1, 8)[:, :, ::-1]
        digits = digits.reshape(height, width, bits)
    values = np.zeros((height, width), np.uint16 if bits <= 16 else np.uint64)
    for place in range(bits):
        values <<= values.dtype.type(1)
        values |= digits[..., place]
    return values


def _inverted(values: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Return a number minus the values, and that number."""
    if values.dtype.kind == 'f':
        return -values, 0.0
    if values.dtype.kind == 'i':
        return ~values, -1.0  # -1 - v is in the range of v
    white = 2**bits - 1
    return values.dtype.type(white) - values, float(white)


class Directory:
    """The tags of a TIFF's first page.

    Args:
        data (bytes): Content of the file.

    Attributes:
        order (str): ``<`` or ``>``, of the file's bytes.
        pages (int): How many there are.
        unknown_to_pillow (bool): Pillow 13 takes a big-endian BigTIFF for a
            TIFF.

    Raises:
        UnreadableError: If the directory does not lie within the file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.order = '<' if data[:2] == b'II' else '>'
        self._big = data[2:4] in (b'+\0', b'\0+')
        self.unknown_to_pillow = data.startswith(b'MM\0+')
        # where the first page's place stands; then forms of a place, of the
        # count of entries, of an entry without its value
        self._head = 8 if self._big else 4
        self._place = f'{self.order}{"Q" if self._big else "I"}'
        self._count = f'{self.order}{"Q" if self._big else "H"}'
        self._entry = f'{self.order}HH{"Q" if self._big else "I"}'
        try:
            place = self._unpack(self._place, self._head)
            self._entries, following = self._read(place)
            seen = {place}
            while following and following not in seen:
                seen.add(following)
                following = self._read(following)[1]
        except (struct.error, OverflowError) as error:
            raise UnreadableError(
                'the TIFF is cut off (its directory is not in the file)'
            ) from error
        self.pages = len(seen)

    def number(self, tag: int, default: int) -> int:
        """Return the first number of a tag, or a default if it is missing."""
        return next(iter(self.numbers(tag)), default)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the whole numbers of a tag; none if it is missing.

        Raises:
            UnreadableError: If they do not lie within the file.
        """
        if tag not in self._entries:
            return ()
        kind, count, value = self._entries[tag]
        if kind not in NUMBER_TYPES:
            return ()
        form = f'{self.order}{count}{NUMBER_TYPES[kind]}'
        try:
            if struct.calcsize(form) <= len(value):
                return struct.unpack_from(form, value)
            (place,) = struct.unpack(self._place, value)
            return struct.unpack_from(form, self._data, place)
        except (struct.error, OverflowError, MemoryError) as error:
            raise UnreadableError(
                f'the TIFF is cut off (tag {tag} is not in the file)'
            ) from error

    def rewritten(self, changes: Mapping[int, int]) -> bytes:
        """Return the file with another directory, behind its end.

        Args:
            changes (Mapping[int, int]): Tag to its only number.

        Raises:
            UnreadableError: If strips or tiles do not lie within the file.
        """
        for _ in self.parts():
            pass
        width = struct.calcsize(self._place)
        entries = dict(self._entries)
        for tag, number in changes.items():
            if number >= 2**32:
                raise UnreadableError('the TIFF is damaged (too large)')
            value = struct.pack(f'{self.order}I', number).ljust(width, b'\0')
            entries[tag] = (LONG, 1, value)
        directory = struct.pack(self._count, len(entries))
        for tag, (kind, count, value) in sorted(entries.items()):
            directory += struct.pack(self._entry, tag, kind, count) + value
        directory += bytes(width)  # no further page
        body = self._data[self._head + width :]
        body += bytes(len(self._data) % 2)  # directories begin at even places
        place = self._head + width + len(body)
        head = self._data[: self._head] + struct.pack(self._place, place)
        return head + body + directory

    def parts(self) -> Iterator[memoryview]:
        """Yield the strips or tiles.

        Raises:
            UnreadableError: If one does not lie within the file: what
                follows would be taken for pixels.
        """
        for places, sizes in PARTS:
            for place, size in zip(self.numbers(places), self.numbers(sizes)):
                if place + size > len(self._data):
                    raise UnreadableError(
                        'the TIFF is cut off (pixels missing)'
                    )
                yield memoryview(self._data)[place : place + size]

    def _read(
        self, place: int
    ) -> tuple[dict[int, tuple[int, int, bytes]], int]:
        """Return a page's entries and the place of the next page."""
        count = self._unpack(self._count, place)
        place += struct.calcsize(self._count)
        size = struct.calcsize(self._entry)
        width = struct.calcsize(self._place)
        entries: dict[int, tuple[int, int, bytes]] = {}
        for _ in range(count):
            tag, kind, length = struct.unpack_from(
                self._entry, self._data, place
            )
            value = self._data[place + size : place + size + width]
            entries.setdefault(tag, (kind, length, value))
            place += size + width
        return entries, self._unpack(self._place, place)

    def _unpack(self, form: str, place: int) -> int:
        return struct.unpack_from(form, self._data, place)[0]
