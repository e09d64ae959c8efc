"""The files of official releases: where they are and what they hold."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from fx_mm.utils.errors import UserError


def find(root: Path, *names: str, holds: str) -> Path:
    """Find a file or folder of a release.

    Args:
        root (Path): Folder of the release.
        *names (str): Where it may be, relative to the root, best first; with
            ``*`` as in a shell. Files may be compressed (``.gz``).
        holds (str): What the folder should hold, for the message.

    Returns:
        Path: The first that exists.

    Raises:
        UserError: If there is none.
    """
    return find_optional(root, *names) or _fail_missing(root, names, holds)


def find_optional(root: Path, *names: str) -> Path | None:
    """Find a file or folder that need not be there; see :func:`find`."""
    for name in names:
        for path in (name, f'{name}.gz'):
            found = sorted(root.glob(path))
            if found:
                return found[0]
    return None


def _fail_missing(root: Path, names: tuple, holds: str) -> NoReturn:
    if not root.is_dir():
        raise UserError(f'{root}: there is no such folder; it holds {holds}.')
    raise UserError(
        f'{root}: has no {" nor ".join(names)}; is it the right folder? It '
        f'holds {holds}.'
    )


def find_images(folder: Path, *suffixes: str) -> dict:
    """List the images in a folder and below it, without hidden files.

    Args:
        folder (Path): The folder; if it is missing, there are none.
        *suffixes (str): Ends of the files' names, such as ``.dcm``; '' takes
            every file.

    Returns:
        dict[str, Path]: Name without suffix to path, sorted.
    """
    found = {}
    for at, folders, names in os.walk(folder, followlinks=True):
        # what fx_mm wrote there is no part of the release
        folders[:] = sorted(f for f in folders if f != 'prepared')
        for name in sorted(names):
            if name.startswith('.'):  # such as macOS leaves beside each file
                continue
            for suffix in suffixes:
                if name.lower().endswith(suffix):
                    stem = name[: len(name) - len(suffix)]
                    found.setdefault(stem, Path(at, name))
                    break
    return found


def read_json(path: Path):
    """Read a JSON file.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError) as error:
        raise UserError(
            f'{path}: cannot be read ({error}); download it anew.'
        ) from error


def read_records(path: Path, *keys: str, within: str = '') -> Iterator[tuple]:
    """Yield some fields of each object in a JSON list.

    Args:
        path (Path): The file.
        *keys (str): Names of the fields.
        within (str): Name of the list, such as ``images`` of a COCO file.
            Defaults to '': the file is the list.

    Yields:
        tuple[str, list]: Where the object is, for messages; its fields.

    Raises:
        UserError: If the file is damaged or of another form.
    """
    data = read_json(path)
    try:
        records = data[within] if within else data
        for number, record in enumerate(records, 1):
            where = f'{path}, {within or "entry"} {number}'
            yield where, [record[key] for key in keys]
    except (TypeError, KeyError, IndexError) as error:
        raise UserError(
            f'{path}: is no list of {", ".join(keys)} (at {error}); is it '
            "the release's own file?"
        ) from error


def read_lines(path: Path) -> Iterator[tuple]:
    """Yield the place and the text of each line that is not blank."""
    try:
        lines = path.read_text(encoding='utf-8-sig').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f'{path}: cannot be read ({error}); download it anew.'
        ) from error
    if not any(map(str.strip, lines)):
        raise UserError(f'{path}: the file is empty; download it anew.')
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f'{path}, row {number}', line.strip()
