"""What was prepared from what, so nothing is done twice."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fx_mm.datasets.readers.images import FileIndex
from fx_mm.preparation.dataset_spec import DatasetSpec
from fx_mm.preparation.image_preparer import mask_folders
from fx_mm.preparation.raw_dataset import RawImage
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import hash_file, write_whole

WRITER_VERSION = 1
"""Raised with every change that alters what is written."""

_HASHED = 64 * 2**20  # bytes; of larger files the time is noted instead


class Manifest:
    """The file ``prepared/<dataset>.manifest.json``.

    Args:
        spec (DatasetSpec): The dataset.

    Attributes:
        content (dict): What it says; {} where there is none.

    Raises:
        UserError: If it is damaged.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self.path = spec.prepared / f'{spec.name}.manifest.json'
        self.spec = spec
        self.content = _read_json(self.path)

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
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
                f'{self.path.parent} holds {self.spec.name} prepared with '
                f'{pairs[0]} instead of {pairs[1]}; use the same arguments, '
                'or replace it with --force.'
            )

    def check_neighbours(self) -> None:
        """Check the other datasets that are prepared in the same folder.

        Raises:
            UserError: If they own a file that is ours.
        """
        for path in sorted(self.path.parent.glob('*.manifest.json')):
            if path == self.path:
                continue
            other = _read_json(path)
            name = path.name.split('.')[0]
            theirs = set(other.get('tables') or ())
            ours = {
                file
                for form in self.spec.forms.values()
                for file in form.files.values()
            }
            if theirs & ours:
                raise UserError(
                    f'{self.spec.root}/{min(theirs & ours)} belongs to '
                    f'dataset "{name}"; name other files in the splits of '
                    f'"{self.spec.name}".'
                )

    def is_complete(
        self, state: Mapping[str, Any], names: Iterator[str], files: FileIndex
    ) -> bool:
        """Return whether all is there and as it was written.

        Args:
            state (dict): ``arguments``, ``images`` and ``files`` of now.
            names (Iterator[str]): Names of the images.
            files (FileIndex): Knows which files exist.
        """
        if not self.content or any(
            self.content.get(key) != value for key, value in state.items()
        ):
            return False
        for file, checksum in self.content['tables'].items():
            path = self.spec.root / file
            if not path.is_file() or hash_file(path) != checksum:
                return False
        masks = sum(
            len(found)
            for folder in mask_folders(self.spec)
            for _, _, found in os.walk(self.spec.prepared / folder)
        )
        skipped = {entry['image'] for entry in self.content['unreadable']}
        return masks >= self.content['mask_files'] and all(
            name in skipped or self.spec.image_path(name) in files
            for name in names
        )

    def remove(self) -> None:
        """Delete the manifest and the tables that it names."""
        for file in self.content.get('tables') or ():
            (self.spec.root / file).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.content = {}

    def write(self, content: dict[str, Any]) -> None:
        """Replace it."""
        self.content = content
        write_whole(self.path, json.dumps(content, indent=1) + '\n')


def describe_arguments(spec: DatasetSpec, **arguments: Any) -> dict[str, Any]:
    """Put all that decides what is written into one flat dict."""
    flat = dict(writer=WRITER_VERSION, img_dir=spec.img_dir, **arguments)
    for name, form in spec.forms.items():
        for key in ('classes', 'files', 'merged'):
            flat[f'{name}.{key}'] = getattr(form, key)
    return json.loads(json.dumps(flat))


def image_key(image: RawImage, root: Path) -> str:
    """Return a checksum of all that a raw dataset says of an image.

    Of masks it knows the number of pieces; what they are made of is in the
    official files, which the manifest lists.
    """
    source = str(image.source).removeprefix(f'{root}{os.sep}')
    pieces: dict[str, int] | None = None
    if image.masks is not None:
        pieces = {name: len(mask) for name, mask in image.masks.items()}
    known = (
        image.name,
        source,
        image.patient,
        image.split,
        image.labels,
        image.boxes,
        pieces,
        image.metadata,
    )
    return hashlib.sha1(repr(known).encode()).hexdigest()


def sign_files(
    paths: Iterable[str | Path], root: Path
) -> dict[str, dict[str, Any]]:
    """Describe files so that a change is noticed.

    Returns:
        dict: Path relative to ``root`` to its ``bytes`` and ``sha256``; of
        files above 64 MiB the ``mtime`` instead.
    """
    signed = {}
    for path in sorted(paths):
        status = os.stat(path)
        mark: dict[str, Any] = dict(bytes=status.st_size)
        if status.st_size <= _HASHED:
            mark['sha256'] = hash_file(path)
        else:
            mark['mtime'] = status.st_mtime_ns
        signed[os.path.relpath(path, root)] = mark
    return signed


def _read_json(path: Path) -> dict[str, Any]:
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


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + '...'
