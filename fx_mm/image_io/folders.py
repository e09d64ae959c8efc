"""Which files of a folder are images."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

HEAD_BYTES = 1024
SOP_CLASS = b'\2\0\2\0UI'
"""Tag and type of MediaStorageSOPClassUID, in a DICOM's first bytes."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is not meant to be seen.

    macOS leaves ``._1.png`` beside ``1.png`` on foreign disks, and the folder
    ``__MACOSX`` in archives; neither holds images.
    """
    return name.startswith('.') or name == '__MACOSX'


def walk_files(
    folder: str | Path, leave_out: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Yield the files in a folder and below it, without hidden ones.

    Links are followed, each folder is entered once.

    Args:
        folder (str | Path): The folder; if it is missing, there are none.
        leave_out (Callable, optional): Whether a folder below is not to be
            entered. Defaults to None: all are.

    Yields:
        Path: Sorted within their folders.
    """
    entered = set()
    for here, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        below[:] = sorted(
            name
            for name in below
            if not is_hidden(name)
            and not (leave_out and leave_out(Path(here, name)))
        )
        for name in sorted(names):
            if not is_hidden(name):
                yield Path(here, name)


def split_imageless(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Part files from DICOM files that hold no image.

    Those lie beside images of a study: the directory (DICOMDIR), structured
    reports, presentation states, documents.

    Args:
        paths (Iterable[Path]): Files.

    Returns:
        tuple[list[Path]]: Those that may hold an image, and the others.
    """
    images: list[Path] = []
    others: list[Path] = []
    for path in paths:
        (others if _is_imageless(path) else images).append(path)
    return images, others


def _is_imageless(path: Path) -> bool:
    """Return whether a file says that it is a DICOM of another class.

    What cannot be read is taken for an image, so that its error shows.
    """
    try:
        with path.open('rb') as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    place = head.find(SOP_CLASS)
    if head[128:132] != b'DICM' or place < 0:
        return False
    # pydicom takes 0.3 s to import, which PNG users need not wait for
    from pydicom.uid import UID

    length = int.from_bytes(head[place + 6 : place + 8], 'little')
    uid = head[place + 8 : place + 8 + length]
    name = UID(uid.rstrip(b'\0 ').decode('latin-1')).name
    return 'Storage' in name and 'Image' not in name
