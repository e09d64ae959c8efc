"""The folder of an official dataset: where its files are, what they say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.image_io.folders import (
    is_hidden,
    split_imageless,
    walk_files,
)
from fx_mm.preparation.skipped import Skipped
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_json, read_lines

_HINT = 'download it again'


class RawFolder:
    """The folder of an official dataset, as downloaded.

    Readers open all annotation files through it. So the manifest can list
    them, and a later change of one is noticed.

    Args:
        root (Path): The folder.
        holds (str): What it should hold, for messages.

    Attributes:
        root (Path): The folder.
        skipped (Skipped): Takes what the reader does not use.
        files_read (set[Path]): Annotation files that were opened.
    """

    def __init__(self, root: Path, holds: str = '') -> None:
        self.root = root
        self.holds = holds
        self.skipped = Skipped()
        self.files_read: set[Path] = set()

    def find(self, *names: str) -> Path:
        """Find a file or folder.

        Args:
            *names (str): Where it may be, relative to the root, best first;
                with ``*`` as in a shell. Files may be compressed (``.gz``).

        Returns:
            Path: The first that exists.

        Raises:
            UserError: If there is none.
        """
        path = self.find_optional(*names)
        if path is not None:
            return path
        if not self.root.is_dir():
            raise UserError(
                f'{self.root}: there is no such folder; it holds {self.holds}.'
            )
        raise UserError(
            f'{self.root}: has no {" nor ".join(names)}; is it the right '
            f'folder? It holds {self.holds}.'
        )

    def find_optional(self, *names: str) -> Path | None:
        """Find a file or folder that need not be there; see :meth:`find`."""
        for name in names:
            for pattern in (name, f'{name}.gz'):
                found = sorted(
                    path
                    for path in self.root.glob(pattern)
                    if not is_hidden(path.name)
                )
                if found:
                    return found[0]
        return None

    def find_images(self, at: str | Path, *suffixes: str) -> dict[str, Path]:
        """List the images in a folder and below it, without hidden files.

        Args:
            at (str | Path): The folder, relative to the root; if it is
                missing, there are none.
            *suffixes (str): Ends of the files' names, such as ``.dcm``; ''
                takes every file.

        Returns:
            dict[str, Path]: Name without suffix to path, sorted.
        """
        found: dict[str, Path] = {}
        # what fx_mm wrote there is not raw
        files = walk_files(self.root / at, lambda f: f.name == 'prepared')
        for path in files:
            for suffix in suffixes:
                if path.name.lower().endswith(suffix):
                    stem = path.name[: len(path.name) - len(suffix)]
                    found.setdefault(stem, path)
                    break
        return found

    def find_dicoms(self, at: str | Path, *suffixes: str) -> dict[str, Path]:
        """List DICOM images as :meth:`find_images` does.

        What lies beside them and holds no image, such as DICOMDIR and
        structured reports, is counted among what is skipped.
        """
        found = self.find_images(at, *suffixes)
        images, others = split_imageless(found.values())
        self.skipped.add(len(others), 'DICOM files without an image')
        kept = set(images)
        return {name: path for name, path in found.items() if path in kept}

    def open_table(self, path: Path) -> CsvTable:
        """Open a CSV file.

        Raises:
            UserError: If it cannot be read or has no header.
        """
        self.files_read.add(path)
        return CsvTable(path, _HINT)

    def read_json(self, path: Path) -> Any:
        """Read a JSON file.

        Raises:
            UserError: If it is missing or damaged.
        """
        content = read_json(path, _HINT)
        self.files_read.add(path)
        return content

    def read_records(
        self, path: Path, *keys: str, within: str = ''
    ) -> Iterator[tuple[str, list[Any]]]:
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
        data = self.read_json(path)
        try:
            records = data[within] if within else data
            for number, record in enumerate(records, 1):
                where = f'{path}, {within or "entry"} {number}'
                yield where, [record[key] for key in keys]
        except (TypeError, KeyError, IndexError) as error:
            raise UserError(
                f'{path}: is no list of {", ".join(keys)} (at {error}); is it '
                'the official file?'
            ) from error

    def read_lines(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yield the place and the text of each line that is not blank.

        Raises:
            UserError: If the file cannot be read or is empty.
        """
        for number, line in enumerate(read_lines(path, _HINT), 1):
            if line.strip():
                yield f'{path}, row {number}', line.strip()
        self.files_read.add(path)

    def read_optional_text(self, path: Path) -> str:
        """Read a text that need not be there, '' where it is missing.

        Bytes that are not UTF-8 are replaced.
        """
        try:
            text = path.read_text(encoding='utf-8', errors='replace')
        except OSError:
            return ''
        self.files_read.add(path)
        return text
