"""What was prepared from what, so that nothing is done twice."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from fx_mm.datasets.io.xray import IMAGE_SUFFIXES
from fx_mm.preparation.dataset_spec import Target
from fx_mm.preparation.entries import Entry
from fx_mm.preparation.images import mask_folders
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

WRITER_VERSION = 1
"""Raised with every change that alters what is written."""

_HASHED = 64 * 2**20  # bytes; of larger files the time is noted instead


class Manifest:
    """The file ``prepared/<dataset>.manifest.json``.

    Args:
        target (Target): The dataset.

    Attributes:
        content (dict): What it says; {} where there is none.

    Raises:
        UserError: If it is damaged.
    """

    def __init__(self, target: Target) -> None:
        self.path = target.prepared / f'{target.name}.manifest.json'
        self.target = target
        self.content = _read_json(self.path)

    def check_arguments(self, arguments: dict) -> None:
        """Refuse to mix with what other arguments have written.

        Raises:
            UserError: Names the arguments that differ.
        """
        was = self.content.get('arguments', arguments)
        differing = [
            key
            for key in sorted({*was, *arguments})
            if was.get(key) != arguments.get(key)
        ]
        if differing:
            pairs = [
                ', '.join(f'{key}={_short(x.get(key))}' for key in differing)
                for x in (was, arguments)
            ]
            raise UserError(
                f'{self.path.parent} holds {self.target.name} prepared with '
                f'{pairs[0]} instead of {pairs[1]}; use the same arguments, '
                'or replace it with --force.'
            )

    def check_neighbours(self, arguments: dict, force: bool) -> list:
        """Look at the other datasets that are prepared in the same folder.

        Their images may be ours too, so they must be of one size. With
        ``force``, those of another size lose their manifest, so that they
        are not taken for complete.

        Returns:
            list[str]: Names of those that lost it.

        Raises:
            UserError: If they own a file that is ours, or images differ.
        """
        stale = []
        for path in sorted(self.path.parent.glob('*.manifest.json')):
            if path == self.path:
                continue
            other = _read_json(path)
            name = path.name.split('.')[0]
            theirs = set(other.get('tables') or ())
            ours = {
                file
                for task in self.target.tasks.values()
                for file in task.files.values()
            }
            if theirs & ours:
                raise UserError(
                    f'{self.target.root}/{min(theirs & ours)} belongs to '
                    f'dataset "{name}"; name other files in the splits of '
                    f'"{self.target.name}".'
                )
            keys = ('img_dir', 'max_size')
            size, own = (
                [x.get(key) for key in keys]
                for x in (other.get('arguments') or {}, arguments)
            )
            if self.target.in_place or size[0] != own[0] or size == own:
                continue
            if not force:
                raise UserError(
                    f'Dataset "{name}" shares its images with '
                    f'"{self.target.name}" and was prepared with max_size='
                    f'{size[1]} instead of {own[1]}; use the same, or --force '
                    'and prepare both.'
                )
            path.unlink()
            stale.append(name)
        return stale

    def is_complete(self, state: dict, names: Iterator[str], files) -> bool:
        """Tell whether all is there and as it was written.

        Args:
            state (dict): ``entries`` and ``files`` of the release now.
            names (Iterator[str]): Names of the images.
            files (FileIndex): Tells which files exist.
        """
        if not self.content or any(
            self.content.get(key) != value for key, value in state.items()
        ):
            return False
        for file, checksum in self.content['tables'].items():
            path = self.target.root / file
            if not path.is_file() or hash_file(path) != checksum:
                return False
        masks = sum(
            len(found)
            for folder in mask_folders(self.target)
            for _, _, found in os.walk(self.target.prepared / folder)
        )
        left_out = {entry['image'] for entry in self.content['left_out']}
        folder = str(self.target.images)
        return masks >= self.content['mask_files'] and all(
            name in left_out or os.path.join(folder, name) in files
            for name in names
        )

    def remove(self) -> None:
        """Delete the manifest and the tables that it names."""
        for file in self.content.get('tables') or ():
            (self.target.root / file).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.content = {}

    def write(self, content: dict) -> None:
        """Replace it."""
        self.content = content
        write_whole(self.path, json.dumps(content, indent=1) + '\n')


def describe_arguments(target: Target, **arguments) -> dict:
    """Put all that decides what is written into one flat dict."""
    flat = dict(writer=WRITER_VERSION, img_dir=target.img_dir, **arguments)
    for kind, task in target.tasks.items():
        for key, value in asdict(task).items():
            flat[f'{kind}.{key}'] = value
    return json.loads(json.dumps(flat))


def entry_key(entry: Entry, root: Path) -> str:
    """Give a checksum of all that a release says of an image.

    Of masks it knows the number of parts; what they are made of is in the
    files of the release, which the manifest lists.
    """
    source = str(entry.source).removeprefix(f'{root}{os.sep}')
    masks = entry.masks and {c: len(p) for c, p in entry.masks.items()}
    said = (
        entry.name,
        source,
        entry.patient,
        entry.split,
        entry.labels,
        entry.boxes,
        masks,
        entry.facts,
    )
    return hashlib.sha1(repr(said).encode()).hexdigest()


def hash_file(path: str | Path) -> str:
    """Give the SHA-256 of a file."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def sign_files(paths: Sequence[str], root: Path) -> dict:
    """Describe files so that a change is noticed.

    Returns:
        dict: Path relative to ``root`` to its ``bytes`` and ``sha256``; of
        files above 64 MiB the ``mtime`` instead.
    """
    signed = {}
    for path in sorted(set(paths)):
        status = os.stat(path)
        mark = dict(bytes=status.st_size)
        if status.st_size <= _HASHED:
            mark['sha256'] = hash_file(path)
        else:
            mark['mtime'] = status.st_mtime_ns
        signed[os.path.relpath(path, root)] = mark
    return signed


@contextlib.contextmanager
def files_read(root: Path) -> Iterator[list]:
    """Note which annotation files below a folder are opened within.

    Yields:
        list[str]: Their paths, one for each time; without images and what
        lies in ``prepared/``.
    """
    begin = os.path.join(os.path.abspath(root), '')
    own = (os.path.join(begin, 'prepared', ''), os.path.join(begin, '.'))
    found: list = []

    def note(path) -> None:
        if isinstance(path, (str, os.PathLike)):
            path = os.path.abspath(os.fsdecode(path))
            if (
                path.startswith(begin)
                and not path.startswith(own)
                and not path.lower().endswith(IMAGE_SUFFIXES)
                and os.path.isfile(path)
            ):
                found.append(path)

    _install_hook()
    _noting.append(note)
    try:
        yield found
    finally:
        _noting.remove(note)


_noting: list = []
_installed: list = []


def _install_hook() -> None:
    """Hear of every file that Python opens; a hook cannot be taken away."""
    if _installed:
        return

    def hook(event, args):
        if event == 'open' and _noting:
            for note in _noting:
                note(args[0])

    sys.addaudithook(hook)
    _installed.append(hook)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise ValueError('is no object')
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f'{path} is damaged; delete it and prepare the dataset again.'
        ) from error
    return content


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + '...'
