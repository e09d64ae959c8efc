"""Files with one row per image and one text per class, read in blocks."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from fx_mm.datasets.readers.base import BaseReader
from fx_mm.datasets.readers.images import ImageNames
from fx_mm.datasets.records import Records
from fx_mm.tasks import Task
from fx_mm.utils.memory import without_garbage_collection

CHUNK = 8192
"""Rows that are parsed at once, by column."""
Row = tuple[int, str, str, Sequence[str]]
"""Number of the row, image name, where the texts are, text per class."""


class RowParser(Protocol):
    """Turns the texts of rows into values, class by class."""

    def parse(
        self, rows: Sequence[Sequence[str]], places: Sequence[str]
    ) -> np.ndarray:
        """Read the values of some images.

        Args:
            rows (Sequence[Sequence[str]]): One text per class and image.
            places (Sequence[str]): File and row of each, for the messages.

        Returns:
            np.ndarray: float32 (n, C).

        Raises:
            UserError: Names file, row and class of what is not a value.
        """

    def records(self, images: ImageNames, values: np.ndarray) -> Records:
        """Put images and values together.

        Args:
            images (ImageNames): The images.
            values (np.ndarray): Of :meth:`parse`, float32 (n, C).

        Returns:
            Records: See :class:`BaseReader`.
        """


class RowReader(BaseReader):
    """A reader of one row per image: 400,000 rows in seconds."""

    @abstractmethod
    def rows(self, ann_file: str, task: Task) -> Iterator[Row]:
        """Walk the rows of a file.

        Args:
            ann_file (str): Path of the annotation file.
            task (Task): Its ``name`` and ``classes`` are used.

        Yields:
            tuple[int, str, str, Sequence[str]]: The row's number; the image's
            name; where the texts are, for messages; one text per class.
        """

    @abstractmethod
    def parser(self, task: Task) -> RowParser:
        """Return what turns the texts of a task into values."""

    def names(self, ann_file: str, task: Task) -> Iterator[str]:
        """Read the images' names alone; see :class:`BaseReader`."""
        rows = (name.strip() for _, name, *_ in self.rows(ann_file, task))
        return filter(None, rows)

    def __call__(self, ann_file: str, img_dir: str, task: Task) -> Records:
        """Read one split; see :class:`BaseReader`."""
        with without_garbage_collection():
            return self._read(ann_file, img_dir, task)

    def _read(self, ann_file: str, img_dir: str, task: Task) -> Records:
        parser = self.parser(task)
        images = self.images(ann_file, img_dir)
        blocks: list[np.ndarray] = []
        cells: list[Sequence[str]] = []
        places: list[str] = []
        for number, name, place, texts in self.rows(ann_file, task):
            if not images.add(name, number):
                continue
            cells.append(texts)
            places.append(place)
            if len(cells) == CHUNK:
                blocks.append(parser.parse(cells, places))
                cells, places = [], []
        if cells:
            blocks.append(parser.parse(cells, places))
        images.finish()
        return parser.records(images, np.concatenate(blocks))
