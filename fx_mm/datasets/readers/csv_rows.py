"""Tables with a header: one row per image, one column per class."""

import logging
import os.path as osp
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from fx_mm.datasets.readers.base import annotation_of
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.images import Folder
from fx_mm.datasets.readers.rows import Row, RowReader
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log_once
from fx_mm.utils.text_files import read_lines

Pick = Callable[[int, Sequence[str]], Sequence[str]]
"""From the number of a row and its cells to the texts of the classes."""
_COMMA = re.compile(r'\s*([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)\s*')
"""A number with a decimal comma."""


class CsvRowReader(RowReader):
    """A reader of a CSV file with a header.

    Columns are found by name, so their order and further columns do not
    matter. The file may be gzipped.

    Args:
        image_column (str, optional): Name of the column with the image's
            name. Defaults to None, the first column.
        where (dict, optional): Column name to the value, or list of values,
            of the rows to read, as the file writes them. Defaults to None,
            which reads all.
        table (str, optional): The CSV file with the annotation, relative to
            the annotation file's folder, where that file is only a list of
            images, one name per row (ChestX-ray14's official lists). Rows of
            other images are not read. Defaults to None: the annotation file
            itself.
        **kwargs: See :class:`BaseReader`.
    """

    def __init__(
        self,
        image_column: str | None = None,
        where: Mapping[str, Any] | None = None,
        table: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_column = image_column
        self.where = where
        self.table = table

    def pick(self, table: CsvTable, task: Task) -> Pick:
        """Return what finds the texts of the classes in a row's cells.

        Decimal commas become points where semicolons separate the columns.

        Raises:
            UserError: If the table lacks a column.
        """
        columns = [
            table.column(name, f'a class of task {task.name}')
            for name in task.classes
        ]
        if table.delimiter == ';':  # a table program's, of some languages
            return lambda number, cells: [
                _with_point(cells[column], table.path) for column in columns
            ]
        if len(columns) > 1:
            cells_of = itemgetter(*columns)
            return lambda number, cells: cells_of(cells)
        (column,) = columns
        return lambda number, cells: (cells[column],)

    def open_table(self, ann_file: str, task: Task) -> CsvTable:
        """Open the table with the annotation; see :class:`BaseReader`."""
        path = self._table_file(ann_file, task)
        return CsvTable(path, annotation_of(task, path))

    def image_index(self, table: CsvTable) -> int:
        """Return the number of the column with the images' names."""
        if self.image_column is None:
            return 0
        return table.column(self.image_column, 'image_column')

    def rows(self, ann_file: str, task: Task) -> Iterator[Row]:
        """Walk the rows; see :class:`RowReader`."""
        path = self._table_file(ann_file, task)
        if self.table is None:
            for number, name, cells in self._table_rows(path, task):
                yield number, name, f'{path}, row {number}', cells
            return
        wanted = self._wanted(ann_file, task)
        found: dict[str, tuple[int, Sequence[str]]] = {}
        for number, name, cells in self._table_rows(path, task, wanted):
            if name in found:
                raise UserError(
                    f'{path}, row {number}: image "{name}" was already in '
                    f'row {found[name][0]}; keep one of the two.'
                )
            found[name] = number, cells
        known = self._names(path, task) if self.where else found
        for name, number in wanted.items():
            if name in found:
                row, cells = found[name]
                yield number, name, f'{path}, row {row}', cells
            elif name not in known:
                raise UserError(
                    f'{ann_file}, row {number}: image "{name}" has no row in '
                    f'{path}; is it the table of another version?'
                )

    def _table_file(self, ann_file: str, task: Task) -> str:
        """Return the path of the table."""
        if self.table is None:
            return ann_file
        folder = Folder(osp.dirname(ann_file), self.data_root)
        path = folder.join(self.table)
        if path is None:
            raise UserError(
                f'The table of the reader of task {task.name}, '
                f'"{self.table}", leads out of the data folder; write '
                'its path relative to the list of images.'
            )
        return path

    @staticmethod
    def _wanted(ann_file: str, task: Task) -> dict[str, int]:
        """Read a list of images: name to row, in order."""
        wanted: dict[str, int] = {}
        lines = read_lines(ann_file, annotation_of(task, ann_file))
        for number, line in enumerate(lines, 1):
            name = line.strip()
            if not name:
                continue
            if name in wanted:
                raise UserError(
                    f'{ann_file}, row {number}: image "{name}" was already '
                    f'in row {wanted[name]}; keep one of the two.'
                )
            wanted[name] = number
        return wanted

    def _table_rows(
        self, path: str, task: Task, wanted: Mapping[str, int] | None = None
    ) -> Iterator[tuple[int, str, Sequence[str]]]:
        """Yield row number, image name and the texts of the classes."""
        table = CsvTable(path, annotation_of(task, path), self.where)
        image, pick = self.image_index(table), self.pick(table, task)
        for number, cells in table:
            name = cells[image].strip()
            if wanted is None or name in wanted:
                yield number, name, pick(number, cells)

    def _names(self, path: str, task: Task) -> set[str]:
        """Return all images of a table, whatever ``where`` keeps."""
        table = CsvTable(path, annotation_of(task, path))
        image = self.image_index(table)
        return {cells[image].strip() for _, cells in table}


def _with_point(cell: str, path: str | Path) -> str:
    """Return a number with a point for its decimal comma."""
    match = _COMMA.fullmatch(cell) if ',' in cell else None
    if match is None:
        return cell
    log_once(
        f'{path}: reads the commas in its numbers as decimal points, 0,5 as '
        '0.5.',
        logging.WARNING,
    )
    return f'{match[1]}.{match[2]}'
