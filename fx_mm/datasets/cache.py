"""Images and masks reduced once to about the training size, on disk.

Decoding a radiograph of 3000 x 3000 pixels to train at 224 is nearly all of
the loader's work. An entry of the cache is one small file: a header and the
reduced pixels, uncompressed, since reading those takes a twentieth of the
time of a PNG of the same size.
"""

import hashlib
import os
import os.path as osp
import struct
import time
import uuid
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np

from fx_mm.image_io.decisions import log_warnings
from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.mask_code import MaskCode
from fx_mm.image_io.xray import read_xray
from fx_mm.utils.files import read_chunks

READER_VERSION = 3
"""Raised with every change of ``read_xray``, ``MaskCode`` or the reduction
that alters pixels; entries of other versions are not looked at."""

Kind = Literal['image'] | MaskCode
"""An X-ray, or how a mask file is read."""
MAGIC = b'fxcache1'
CHECKED = struct.Struct('<8sI')
"""Signature; CRC-32 of all that follows."""
HEADER = struct.Struct('<16s4s4I3q16s')
"""Key, dtype, height and width of the original and of the entry, state of
the source (size, mtime, ctime), digest of the source."""
SETTLED = 2_000_000_000
"""Nanoseconds after which a file's times tell every change of it: the
coarsest clock of a file system."""


class Cached(NamedTuple):
    """What the cache returns.

    Attributes:
        pixels (np.ndarray): (h, w), read-only; uint8 of an image, of a mask
            the dtype that its file has.
        ori_shape (tuple[int]): (H, W) of the original.
    """

    pixels: np.ndarray
    ori_shape: tuple[int, int]


class Source(NamedTuple):
    """Size and times of a source file, in bytes and nanoseconds."""

    size: int
    mtime: int
    ctime: int


class Entry(NamedTuple):
    """An entry as it was read."""

    cached: Cached
    source: Source
    digest: bytes


def reduced_shape(shape: Sequence[int], size: int) -> tuple[int, int]:
    """Return the shape whose shorter side is ``size``, or a smaller ``shape``.

    Args:
        shape (Sequence[int]): (H, W).
        size (int): Pixels.

    Returns:
        tuple[int]: (h, w).
    """
    height, width = shape
    shorter = min(height, width)
    if shorter <= size:
        return height, width
    return round(height * size / shorter), round(width * size / shorter)


def reduce_image(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Reduce an image by the mean of the pixels that fall together.

    Args:
        image (np.ndarray): (H, W).
        shape (Sequence[int]): (h, w), of :func:`reduced_shape`.

    Returns:
        np.ndarray: (h, w), same dtype.
    """
    if image.shape == tuple(shape):
        return image
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)


def reduce_mask(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Reduce a mask, taking the pixel at each new pixel's centre.

    Values may be bits of several classes, which must not be mixed. OpenCV's
    nearest neighbour takes the corner, which shifts a mask against its image
    by up to half a pixel.

    Args:
        mask (np.ndarray): (H, W).
        shape (Sequence[int]): (h, w).

    Returns:
        np.ndarray: (h, w), same dtype.
    """
    if mask.shape == tuple(shape):
        return mask
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for old, new in zip(mask.shape, shape)
    )
    return mask[rows[:, None], columns]


class ImageCache:
    """Reads X-rays and masks reduced, from a folder that it fills itself.

    An entry belongs to a source by its path relative to the folder (so that
    a data folder may move as a whole), and to a transform: size, percentiles
    and :data:`READER_VERSION`. It holds the content hash of its source
    together with the source's size, mtime and ctime. While these three are
    as they were, the entry is taken without opening the source: whoever
    writes to a file changes its ctime, whatever becomes of its mtime. If
    they differ, the source is hashed, and only new content is decoded again;
    a copied or touched data set costs one reading.

    Processes may share the folder. An entry appears whole, by renaming; it
    is not flushed to disk, since one that a crash damaged is found by its
    checksum and built again. What cannot be written is still returned.

    Args:
        folder (str): Folder of the cache; made if missing.
        size (int): Pixels of the shorter side; smaller originals stay.
        percentiles (Sequence[float], optional): See :func:`read_xray`.
            Defaults to None.

    Attributes:
        events (Counter): Number of entries ``found``, ``confirmed`` (source
            touched, content the same), ``built``, ``rebuilt`` (source
            changed, or entry damaged) and ``unwritten``.
    """

    def __init__(
        self,
        folder: str,
        size: int,
        percentiles: Sequence[float] | None = None,
    ) -> None:
        self.folder = folder
        self.size = size
        self.percentiles = percentiles
        self.events: Counter[str] = Counter()

    def image(self, path: str) -> Cached:
        """Return an X-ray, reduced by area.

        Raises:
            ImageReadError: If there is no entry and the source cannot be
                read, or the source is gone.
        """
        return self._get(path, 'image')

    def mask(self, path: str, code: MaskCode) -> Cached:
        """Return a mask file's values, reduced to the nearest pixels.

        Args:
            path (str): Path of the source.
            code (MaskCode): How it is read.

        Raises:
            ImageReadError: As :meth:`image`.
            UserError: If the file's values do not fit the code.
        """
        return self._get(path, code)

    def entry_path(self, path: str, kind: Kind) -> str:
        """Return the path of a source's entry.

        Args:
            path (str): Path of the source.
            kind (str | MaskCode): 'image', or how the mask is read.
        """
        return self._locate(path, kind)[0]

    def check(self, path: str, kind: Kind) -> str:
        """Compare an entry with the content of its source; write nothing.

        Returns:
            str: 'good', 'missing', 'damaged' or 'stale'.

        Raises:
            OSError: If the source cannot be read.
        """
        file, key = self._locate(path, kind)
        if not osp.exists(file):
            return 'missing'
        entry = self._load(file, key)
        if entry is None:
            return 'damaged'
        return 'good' if entry.digest == file_digest(path) else 'stale'

    def _get(self, path: str, kind: Kind) -> Cached:
        file, key = self._locate(path, kind)
        entry = self._load(file, key)
        try:
            source = file_state(path)
            if entry is not None and entry.source == source:
                self.events['found'] += 1
                return entry.cached
            digest = file_digest(path)
            if entry is not None and entry.digest == digest:
                event, cached = 'confirmed', entry.cached
            else:
                event = 'rebuilt' if osp.exists(file) else 'built'
                cached = self.reduced(path, kind)
            settled = file_state(path) == source
        except OSError as error:
            raise ImageReadError(
                f'{path}: {error.strerror or error}'
            ) from error
        self.events[event] += 1
        if settled:  # else it changed while it was read
            self._store(file, key, Entry(cached, _trusted(source), digest))
        return cached

    def _locate(self, path: str, kind: Kind) -> tuple[str, bytes]:
        """Return the path and the key of a source's entry."""
        relative = os.fsencode(osp.relpath(path, self.folder))
        key = hashlib.blake2b(relative, digest_size=16).digest()
        name = key.hex()
        return f'{self.folder}/{self._variant(kind)}/{name[:2]}/{name}', key

    def _variant(self, kind: Kind) -> str:
        if kind == 'image':
            name = f'image_{self.size}px'
            if self.percentiles is not None:
                name += '_p' + '-'.join(
                    str(float(p)) for p in self.percentiles
                )
        else:
            name = f'mask{kind.tag}_{self.size}px'
        return f'{name}_v{READER_VERSION}'

    def reduced(self, path: str, kind: Kind) -> Cached:
        """Read and reduce a source, whatever the cache has; keep nothing.

        Args:
            path (str): Path of the source.
            kind (str | MaskCode): 'image', or how the mask is read.

        Raises:
            ImageReadError: If it cannot be read.
            UserError: If a mask's values do not fit the code.
        """
        if kind == 'image':
            pixels = read_xray(path, percentiles=self.percentiles)
            reduce: Callable[..., np.ndarray] = reduce_image
        else:
            plane = kind.read(path)
            log_warnings(path, plane.decisions)
            pixels, reduce = plane.values, reduce_mask
        shape = reduced_shape(pixels.shape, self.size)
        return Cached(reduce(pixels, shape), pixels.shape)

    def _load(self, file: str, key: bytes) -> Entry | None:
        """Read an entry; None if it is missing or not what it should be."""
        try:
            with open(file, 'rb', buffering=0) as stream:
                data = stream.read()
        except OSError:
            return None
        start = CHECKED.size + HEADER.size
        if len(data) < start:
            return None
        magic, checksum = CHECKED.unpack_from(data)
        content = memoryview(data)[CHECKED.size :]
        if magic != MAGIC or checksum != zlib.crc32(content):
            return None
        fields = HEADER.unpack_from(content)
        dtype = np.dtype(fields[1].rstrip(b'\0').decode())
        ori_shape, shape = fields[2:4], fields[4:6]
        if (
            fields[0] != key
            or shape != reduced_shape(ori_shape, self.size)
            or len(data) != start + shape[0] * shape[1] * dtype.itemsize
        ):
            return None
        pixels = np.frombuffer(data, dtype, offset=start).reshape(shape)
        return Entry(
            Cached(pixels, ori_shape), Source(*fields[6:9]), fields[9]
        )

    def _store(self, file: str, key: bytes, entry: Entry) -> None:
        pixels, ori_shape = entry.cached
        header = HEADER.pack(
            key,
            pixels.dtype.str.encode(),
            *ori_shape,
            *pixels.shape,
            *entry.source,
            entry.digest,
        )
        content = header + pixels.tobytes()
        temporary = f'{file}.{uuid.uuid4().hex}.tmp'
        try:
            os.makedirs(osp.dirname(file), exist_ok=True)
            try:
                with open(temporary, 'xb') as stream:
                    stream.write(CHECKED.pack(MAGIC, zlib.crc32(content)))
                    stream.write(content)
                os.replace(temporary, file)
            except BaseException:
                if osp.exists(temporary):
                    os.unlink(temporary)
                raise
        except OSError as error:
            self.events['unwritten'] += 1
            if self.events['unwritten'] == 1:
                warnings.warn(
                    f'The image cache {self.folder} cannot be written '
                    f'({error.strerror}); images are decoded again each '
                    'time.',
                    stacklevel=2,
                )


def file_state(path: str) -> Source:
    """Return what the file system changes with a file's content.

    Raises:
        OSError: If the file does not exist.
    """
    found = os.stat(path)
    return Source(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def file_digest(path: str) -> bytes:
    """Hash the content of a file.

    Returns:
        bytes: BLAKE2b, 16 bytes.

    Raises:
        OSError: If the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest.digest()


def _trusted(source: Source) -> Source:
    """Return a state that never comes again for a file that is too young.

    A second change within the same tick of the clock would not show.
    """
    age = time.time_ns() - max(source.mtime, source.ctime)
    return source if age > SETTLED else source._replace(ctime=-1)
