"""Reading every image once: its statistics, its thumbnail, its masks' areas.

What was read is kept in the audit's folder, a few thousand files a chunk, so
that a stopped audit goes on where it was and the next one reads only what is
new or has changed.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from mmengine.logging import print_log

from fx_mm.audit.thumbnails import THUMB, thumbnail
from fx_mm.image_io.mask_code import MaskCode
from fx_mm.image_io.masks import BITS
from fx_mm.image_io.xray import read_xray
from fx_mm.utils.files import remove_leftovers, write_whole
from fx_mm.utils.parallel import chunked, track_forked

VERSION = 2
"""Raised when what is kept of an image changes."""
DARK, LIGHT = 5, 250
JOB = 16
"""Files that a worker reads at a time."""
CHUNK = 4096
ROOM = 2000
"""Bytes of what was decided while a file was read."""
VALUES = 32
"""Values of a mask that are kept."""
LARGE = ('thumb', 'reading')
"""Fields that are left on disk."""
MISSING = b'No such file or directory'
PATIENCE = 60.0
"""Seconds after which even a small chunk is written."""

_FILE = [
    ('key', 'V16'),  # of the path
    ('size', 'i8'),
    ('mtime', 'i8'),
    ('height', 'i4'),
    ('width', 'i4'),
    ('error', 'S240'),
]
IMAGE_ROW = np.dtype(
    [
        *_FILE,
        ('digest', 'V16'),  # of the content
        ('low', 'u1'),
        ('high', 'u1'),
        ('mean', 'f4'),
        ('std', 'f4'),
        ('black', 'f4'),  # shares of the pixels
        ('white', 'f4'),
        ('thumb', 'u1', (THUMB, THUMB)),
        ('reading', f'S{ROOM}'),  # what was decided, as JSON
    ]
)


MaskFile = tuple[str, MaskCode]
"""A mask file and how it is read."""


class Scan:
    """What was read of some files, in their order.

    Attributes:
        paths (list): The images' paths, or the mask files.
        rows (np.ndarray): All fields but the large ones, shape (N,).
    """

    def __init__(
        self,
        paths: list[Any],
        rows: np.ndarray,
        chunks: list[Any],
        places: np.ndarray,
    ) -> None:
        self.paths = paths
        self.rows = rows
        self._chunks = chunks
        self._places = places
        self._index = {path: number for number, path in enumerate(paths)}

    def __len__(self) -> int:
        return len(self.paths)

    def index(self, path: str | MaskFile) -> int:
        """Return the number of a file."""
        return self._index[path]

    def error(self, index: int) -> str:
        """Return why a file cannot be read; '' if it can."""
        return self.rows['error'][index].decode('utf-8', 'replace')

    def thumbs(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return thumbnails, read from disk only now.

        Returns:
            np.ndarray: uint8 (n, 128, 128), each stretched to 0..255.
        """
        out = np.zeros((len(indices), THUMB, THUMB), np.uint8)
        places = self._places[np.asarray(indices, np.int64)]
        for number in np.unique(places[:, 0]):
            if number >= 0:
                here = places[:, 0] == number
                out[here] = self._chunks[number]['thumb'][places[here, 1]]
        return out

    def readings(self) -> list[dict[str, Any]]:
        """Return what was decided of each file while it was read.

        Returns:
            list[dict]: What ``read_xray`` or ``read_mask`` says with
            ``decisions``; of a file that cannot be read, ``error``.
        """
        found: list[dict[str, Any]] = []
        for index, (number, row) in enumerate(self._places.tolist()):
            error = self.error(index)
            if error:
                found.append(dict(error=error))
            else:
                found.append(json.loads(self._chunks[number]['reading'][row]))
        return found


def scan_images(
    paths: Sequence[str], folder: str | Path, workers: int | None = None
) -> Scan:
    """Read images, or what is kept of them.

    Args:
        paths (Sequence[str]): Image files.
        folder (str | Path): Where the results are kept.
        workers (int, optional): Number of processes. Defaults to the number
            of available cores.
    """
    return _scan(paths, Path(folder), 'images', IMAGE_ROW, _look, workers)


def scan_masks(
    masks: Sequence[MaskFile], folder: str | Path, workers: int | None = None
) -> Scan:
    """Read mask files: their size, the pixels of each class and ignored."""
    most = max([BITS, *(len(code.classes) for _, code in masks)])
    row = [
        *_FILE,
        ('format', 'S16'),
        ('top', 'i8'),  # the largest value
        ('ignored', 'i8'),
        ('areas', 'i8', (-(-most // BITS) * BITS,)),
        ('reading', f'S{ROOM}'),
    ]
    return _scan(
        masks, Path(folder), 'masks', np.dtype(row), _measure, workers
    )


def _look(path: str, row: np.void) -> None:
    with open(path, 'rb') as file:
        digest = hashlib.blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
    row['digest'] = digest.digest()
    image, reading = read_xray(path, decisions=True)
    row['reading'] = _packed(reading)
    row['height'], row['width'] = image.shape
    # One pass over the pixels instead of one for each number.
    counts = np.bincount(image.ravel(), minlength=256)
    values = np.arange(256)
    mean = (counts * values).sum() / image.size
    row['mean'] = mean
    row['std'] = np.sqrt((counts * (values - mean) ** 2).sum() / image.size)
    row['low'], row['high'] = counts.nonzero()[0][[0, -1]]
    row['black'] = counts[: DARK + 1].sum() / image.size
    row['white'] = counts[LIGHT:].sum() / image.size
    row['thumb'] = thumbnail(image)


def _packed(reading: dict[str, Any]) -> bytes:
    """Return what was decided as JSON, without the warnings beyond a few."""
    warnings = list(reading['warnings'])
    while True:
        text = json.dumps(dict(reading, warnings=warnings), ensure_ascii=False)
        data = text.encode()
        if len(data) <= ROOM or not warnings:
            return data
        del warnings[-1]


def _measure(mask: MaskFile, row: np.void) -> None:
    path, code = mask
    plane = code.read(path)
    row['height'], row['width'] = plane.values.shape
    row['reading'] = _packed(
        dict(
            format=plane.decisions.format,
            mask_format=plane.format,
            values=plane.found[:VALUES],
            orientation=plane.decisions.orientation,
            warnings=list(plane.decisions.warnings.values()),
        )
    )
    row['format'] = plane.format.encode()
    row['top'] = max(plane.found, default=0)
    values, counts = np.unique(plane.values, return_counts=True)
    ignored = code.ignored(values)
    if ignored is not None:
        row['ignored'] = counts[ignored].sum()
    for number in range(len(code.classes) or BITS):
        row['areas'][number] = counts[code.inside(values, number)].sum()


def _path(item: str | MaskFile) -> str:
    return item if isinstance(item, str) else item[0]


def _scan(
    items: Sequence[Any],
    folder: Path,
    name: str,
    dtype: np.dtype[np.void],
    read: Callable[[Any, np.void], None],
    workers: int | None,
) -> Scan:
    items = list(items)
    home = folder / f'{name}-v{VERSION}'
    home.mkdir(parents=True, exist_ok=True)
    remove_leftovers(home)
    names = [
        key for key in cast('tuple[str, ...]', dtype.names) if key not in LARGE
    ]
    small = np.dtype([(key, dtype[key]) for key in names])
    files = np.zeros(len(items), small)
    for index, item in enumerate(items):
        path = _path(item)
        tag = '' if item is path else item[1].tag
        digest = hashlib.blake2b(f'{path}{tag}'.encode(), digest_size=16)
        files['key'][index] = digest.digest()
        try:
            stat = os.stat(path)
            files['size'][index] = stat.st_size
            files['mtime'][index] = stat.st_mtime_ns
        except FileNotFoundError:
            files['error'][index] = MISSING
        except OSError as error:
            files['error'][index] = (error.strerror or 'no file').encode()
    chunks = _load(home, dtype)
    places, todo = _match(files, chunks)
    _read_all(
        [items[i] for i in todo], files[todo], home, dtype, read, workers
    )
    if len(todo):
        chunks = _load(home, dtype)
        places, _ = _match(files, chunks)
    rows = files.copy()
    for number, chunk in enumerate(chunks):
        here = (places[:, 0] == number).nonzero()[0]
        found = chunk[places[here, 1]]
        for key in names:
            rows[key][here] = found[key]
    return Scan(items, rows, chunks, places)


def _load(home: Path, dtype: np.dtype) -> list[Any]:
    """Open the chunks; a damaged one is deleted and read again."""
    chunks = []
    for path in sorted(home.glob('*.npy')):
        try:
            # Thumbnails of half a million images are 2 GB: left on disk.
            chunk = np.load(path, mmap_mode='r')
            if chunk.dtype != dtype:
                raise ValueError('of another version')
        except (ValueError, OSError, EOFError):
            path.unlink()
            continue
        chunks.append(chunk)
    return chunks


def _match(files: np.ndarray, chunks: list[Any]) -> tuple[Any, ...]:
    """Find files among the chunks by path, size and time.

    What could not be read is tried again: a decoder may have been installed.

    Returns:
        tuple: int64 (N, 2), chunk and row, -1 where there is none; the
        numbers of the files that are to be read.
    """
    good: dict[Any, tuple[int, int]] = {}
    bad: dict[Any, tuple[int, int]] = {}
    for number, chunk in enumerate(chunks):
        failed = (chunk['error'] != b'').tolist()
        for row, state in enumerate(chunk[['key', 'size', 'mtime']].tolist()):
            (bad if failed[row] else good)[state] = (number, row)
    known = {**bad, **good}
    states = files[['key', 'size', 'mtime']].tolist()
    places = np.array([known.get(s, (-1, -1)) for s in states], np.int64)
    missing = files['error'] != b''
    unread = np.array([state not in good for state in states], bool)
    return places.reshape(-1, 2), (unread & ~missing).nonzero()[0]


def _read_all(
    items: list[Any],
    files: np.ndarray,
    home: Path,
    dtype: np.dtype[np.void],
    read: Callable[[Any, np.void], None],
    workers: int | None,
) -> None:
    if not len(items):
        return

    def work(numbers: Sequence[int]) -> np.ndarray:
        rows = np.zeros(len(numbers), dtype)
        for row, number in zip(rows, numbers):
            item = items[number]
            for key in ('key', 'size', 'mtime'):
                row[key] = files[number][key]
            try:
                read(item, row)
            except Exception as error:
                # A decoder can fail with anything, and one file must not
                # end the audit of a hundred thousand.
                text = ' '.join(str(error).split()) or type(error).__name__
                text = text.removeprefix(_path(item)).removeprefix(': ')
                row['error'] = text.strip().encode()[:240]
        return rows

    waiting, since = [], time.monotonic()
    what = home.name.partition('-')[0]
    jobs = chunked(range(len(items)), JOB)
    for _, rows in track_forked(f'Reading {what}', work, jobs, workers):
        waiting.append(rows)
        full = len(waiting) * JOB >= CHUNK
        if full or time.monotonic() - since > PATIENCE:
            _store(waiting, home)
            waiting, since = [], time.monotonic()
    if waiting:
        _store(waiting, home)
    print_log(f'Read {len(items)} {what}.', 'current')


def _store(waiting: list[Any], home: Path) -> None:
    rows = np.concatenate(waiting)
    name = hashlib.blake2b(rows['key'].tobytes(), digest_size=8).hexdigest()
    buffer = io.BytesIO()
    np.save(buffer, rows)
    write_whole(home / f'{name}.npy', buffer.getvalue())
