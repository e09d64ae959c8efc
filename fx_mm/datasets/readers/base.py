"""What all readers share: image names, label values, table rows."""

import csv
import io
import math
import os
import os.path as osp
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from ...utils.errors import UserError


class BaseReader(metaclass=ABCMeta):
    """Turns an annotation file into records, checking all of it.

    A record is a dict with ``img_path``, ``img_id`` (the image's name in the
    annotation file, unique in the split) and, by the kind of task:

    - cls: ``gt_score`` (np.ndarray): float32 (C,) in 0..1, NaN = unknown.
    - loc: ``boxes`` (np.ndarray): float32 (n, 4) xyxy in pixels of the
      original image; ``box_labels`` (np.ndarray): int64 (n,). Images
      without boxes stay in.
    - seg: ``mask_paths`` (dict): class name to path or None (empty mask).

    Args:
        only (Sequence[str], optional): Names of the images to keep, as the
            annotation file writes them. Defaults to None, which keeps all.
        img_suffix (str): What the files' names have and the annotation lacks,
            such as ``.png``. Defaults to ''.
    """

    def __init__(
        self, only: Sequence[str] | None = None, img_suffix: str = ''
    ) -> None:
        self.only = only
        self.img_suffix = img_suffix

    @abstractmethod
    def __call__(self, ann_file: str, img_dir: str, task) -> list[dict]:
        """Read one split.

        Args:
            ann_file (str): Path of the annotation file.
            img_dir (str): Folder that image names are relative to.
            task (Task): Gives ``name``, ``classes`` and ``labels``.

        Returns:
            list[dict]: Records in the order of the file.

        Raises:
            UserError: Names the file and row of what is wrong.
        """

    def images(self, ann_file: str, img_dir: str) -> 'ImageNames':
        """Start checking the image names of a split."""
        return ImageNames(ann_file, img_dir, self.only, self.img_suffix)


class FileIndex:
    """Knows which files exist, without asking the disk for each.

    The second question about a folder lists it, so a folder of 100,000
    images costs one listing, and folders of one image cost one stat each.
    """

    def __init__(self) -> None:
        self._listed: dict = {}

    def __contains__(self, path: str) -> bool:
        folder, name = osp.split(path)
        names = self._listed.get(folder)
        if names is None:
            if folder not in self._listed:
                self._listed[folder] = None
                return osp.isfile(path)
            names = self._listed[folder] = self._list(folder)
        return name in names

    @staticmethod
    def _list(folder: str) -> set:
        try:
            with os.scandir(folder or '.') as entries:
                return {entry.name for entry in entries}
        except OSError:
            return set()


class ImageNames:
    """Checks the image names of one split: wanted, once each, on disk.

    Args:
        ann_file (str): For the messages.
        img_dir (str): Folder of the images.
        only (Sequence[str], optional): Names to keep. Defaults to None.
        suffix (str): Added to each name. Defaults to ''.
    """

    def __init__(
        self,
        ann_file: str,
        img_dir: str,
        only: Sequence[str] | None = None,
        suffix: str = '',
    ) -> None:
        self.ann_file = ann_file
        self.img_dir = img_dir
        self.only = None if only is None else set(only)
        self.suffix = suffix
        self.files = FileIndex()
        self._seen: dict = {}

    def add(self, name: str, where: str) -> dict | None:
        """Check a name and start its record.

        Args:
            name (str): The image's name in the annotation file.
            where (str): The place in the file, such as ``row 7``.

        Returns:
            dict: With ``img_path`` and ``img_id``; None if not wanted.

        Raises:
            UserError: If the name is blank, was there before, or no file.
        """
        name = name.strip()
        if not name:
            raise UserError(
                f'{self.ann_file}, {where}: the image name is blank; '
                'fill it in or delete the row.'
            )
        if name in self._seen:
            raise UserError(
                f'{self.ann_file}, {where}: image "{name}" was already in '
                f'{self._seen[name]}; keep one of the two.'
            )
        self._seen[name] = where
        if self.only is not None and name not in self.only:
            return None
        path = osp.join(self.img_dir, name + self.suffix)
        if path not in self.files:
            raise UserError(
                f'{self.ann_file}, {where}: image file {path} does not '
                'exist; check img_dir (and img_suffix) or delete the row.'
            )
        return dict(img_path=path, img_id=name)

    def finish(self) -> None:
        """Check the whole.

        Raises:
            UserError: If there were no images, or not all of ``only``.
        """
        if not self._seen:
            raise UserError(
                f'{self.ann_file}: lists no images; name the file of the '
                'split that has them.'
            )
        missing = sorted((self.only or set()) - set(self._seen))
        if missing:
            raise UserError(
                f'{self.ann_file}: "only" asks for "{missing[0]}", which is '
                f'not among its {len(self._seen)} images.'
            )
        if self.only is not None and not self.only:
            raise UserError(
                f'"only" is an empty list and leaves nothing of '
                f'{self.ann_file}; name the images to keep or remove it.'
            )


def open_text(path: str, task_name: str) -> list[str]:
    """Read the lines of a text file, with or without BOM, any line ends.

    Args:
        path (str): Path of the file.
        task_name (str): For the messages.

    Returns:
        list[str]: Lines with their ends.

    Raises:
        UserError: If the file is missing, empty or not UTF-8.
    """
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            # no str.splitlines: it also cuts at form feeds within cells
            lines = list(io.StringIO(file.read(), newline=''))
    except OSError as error:
        raise UserError(
            f'{path}: {error.strerror}; it is the annotation file of task '
            f'{task_name}, check data_root and splits.'
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f'{path}: is not UTF-8 text (byte {error.start}); save it as '
            'UTF-8.'
        ) from error
    if not any(line.strip() for line in lines):
        raise UserError(
            f'{path}: the file is empty; it is the annotation file of task '
            f'{task_name}.'
        )
    return lines


class Table:
    """A CSV file with a header, read row by row.

    Args:
        path (str): Path of the file.
        task_name (str): For the messages.

    Raises:
        UserError: If the file is missing, empty, no UTF-8, or a column's
            name stands twice in the header.
    """

    def __init__(self, path: str, task_name: str) -> None:
        self.path = path
        self._reader = csv.reader(
            open_text(path, task_name),
            strict=True,  # else an open quote swallows rows
        )
        self.header = [name.strip() for name in next(self._rows())[1]]
        named = [name for name in self.header if name]
        for name in named:
            if named.count(name) > 1:
                raise UserError(
                    f'{path}: column "{name}" stands twice in the header; '
                    'rename one.'
                )

    def column(self, name: str, what: str) -> int:
        """Find a column.

        Raises:
            UserError: Names the column and lists those that are there.
        """
        if name not in self.header:
            found = ', '.join(f'"{c}"' for c in self.header)
            raise UserError(
                f'{self.path}: has no column "{name}" ({what}); '
                f'it has: {found}.'
            )
        return self.header.index(name)

    def __iter__(self) -> Iterator[tuple]:
        """Yield (row number in the file, list of cells)."""
        width = len(self.header)
        for number, cells in self._rows():
            if len(cells) != width:
                raise UserError(
                    f'{self.path}, row {number}: has {len(cells)} cells, but '
                    f'the header has {width}; complete the row.'
                )
            yield number, cells

    def _rows(self) -> Iterator[tuple]:
        while True:
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(
                    f'{self.path}, row {self._reader.line_num}: is not valid '
                    f'CSV ({error}).'
                ) from error
            if any(cell.strip() for cell in cells):
                yield self._reader.line_num, cells


COMMON = {'0': 0.0, '1': 1.0, '0.0': 0.0, '1.0': 1.0, '': math.nan}
"""What nearly all cells hold; large tables are read twice as fast by it."""


def parse_labels(
    cells: Sequence[str],
    classes: Sequence[str],
    where: str,
    uncertain: float | None = None,
) -> list:
    """Read the labels of one image.

    Args:
        cells (Sequence[str]): One text a class, see :func:`parse_label`.
        classes (Sequence[str]): Class names, for the message.
        where (str): File and row, for the message.
        uncertain (float, optional): See :func:`parse_label`.

    Returns:
        list[float]: One value a class, NaN if unknown.
    """
    return [
        COMMON[cell]
        if cell in COMMON
        else parse_label(cell, f'{where}, class "{name}"', uncertain)
        for cell, name in zip(cells, classes)
    ]


def parse_label(
    text: str, where: str, uncertain: float | None = None
) -> float:
    """Read one label value.

    Args:
        text (str): A number in 0..1, or blank or ``nan`` for unknown.
        where (str): File, row and column, for the message.
        uncertain (float, optional): What -1 (CheXpert's "uncertain") stands
            for. Defaults to None, which refuses it.

    Returns:
        float: The value, NaN if unknown.

    Raises:
        UserError: If the text is something else.
    """
    text = text.strip()
    if not text or text.lower() == 'nan':
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise UserError(
            f'{where}: label "{text}" is not a number; write 0, 1, or '
            'nothing if it is unknown.'
        ) from None
    if value == -1 and uncertain is not None:
        return uncertain
    if not 0 <= value <= 1:
        hint = ' (set "uncertain" to read -1)' if value == -1 else ''
        raise UserError(
            f'{where}: label {text} is outside 0..1; write 0, 1, or nothing '
            f'if it is unknown{hint}.'
        )
    return value


def check_one_hot(scores: np.ndarray, where: str) -> None:
    """Check the labels of a multi-class row.

    Raises:
        UserError: Unless exactly one class is 1 and the others 0.
    """
    if not (
        (scores == 1).sum() == 1 and (scores == 0).sum() == len(scores) - 1
    ):
        raise UserError(
            f'{where}: a multi-class row needs one 1 and otherwise 0, not '
            f'{scores.tolist()}; correct it or set labels="multi-label".'
        )
