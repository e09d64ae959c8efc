"""Files read piece by piece, and files that appear whole or not at all."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from fx_mm.utils.log import log

CHUNK = 2**18
"""Bytes to read at a time."""


def read_chunks(path: str | Path) -> Iterator[memoryview]:
    """Read a file piece by piece, to hash it.

    Args:
        path (str | Path): The file.

    Yields:
        memoryview: At most 256 KiB; the next piece overwrites it.

    Raises:
        OSError: If the file cannot be read.
    """
    buffer = memoryview(bytearray(CHUNK))
    with open(path, 'rb', buffering=0) as file:
        while size := file.readinto(buffer):
            yield buffer[:size]


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def write_whole(
    path: str | Path, content: str | bytes, flush: bool = True
) -> Path:
    """Write a file beside its place, flush it to disk, then rename it.

    A kill or a full disk leaves the previous file, if any, untouched.

    Args:
        path (str | Path): The file; its folder is made if missing.
        content (str | bytes): Text is written as UTF-8.
        flush (bool): Whether to wait for the disk, which takes milliseconds.
            Without, a power cut may leave an empty file. Defaults to True.

    Returns:
        Path: ``path``.

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode('utf-8') if isinstance(content, str) else content
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def remove_leftovers(folder: str | Path) -> None:
    """Delete what :func:`write_whole` left where its process was killed."""
    for path in Path(folder).rglob('.*.tmp'):
        process = path.name.split('.')[-2]
        if process.isdecimal() and not _is_running(int(process)):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Let one process at a time through; the others log it and wait.

    Args:
        path (str | Path): A file for the lock; it is made, and stays. The
            system releases the lock when the process ends.

    Raises:
        OSError: If the file cannot be made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f'Another process writes to {path.parent}; waiting for it.')
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
