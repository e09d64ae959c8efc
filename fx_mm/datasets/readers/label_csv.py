"""Image labels from a CSV file with a header."""

import os.path as osp
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from fx_mm.datasets.readers.csv_table import (
    CsvTable,
    annotation_of,
    read_lines,
)
from fx_mm.datasets.readers.images import Folder
from fx_mm.datasets.readers.labels import LabelReader, LabelRow
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


@READERS.register_module()
class CsvLabelReader(LabelReader):
    """Reads image labels: one row per image, one column per class.

    Columns are found by name, so their order and further columns do not
    matter. A cell holds a number in 0..1; for -1, blank and ``nan`` see
    :class:`LabelReader`. Alternatively one column holds the names of all
    findings. The file may be gzipped.

    Args:
        image_column (str, optional): Name of the column with the image's
            name. Defaults to None, the first column.
        findings_column (str, optional): Name of a column that lists the
            findings of the image, as ChestX-ray14's ``Finding Labels`` does
            (``Cardiomegaly|Emphysema``); classes that are not listed are 0,
            and a blank cell is blank for all. Defaults to None: one column
            per class.
        separator (str): Between the findings. Defaults to '|'.
        no_finding (str): Stands for an empty list. Defaults to 'No Finding'.
        where (dict, optional): Column name to the value, or list of values,
            of the rows to read, as the file writes them. Defaults to None,
            which reads all.
        table (str, optional): The CSV file with the labels, relative to the
            annotation file's folder, where that file is only a list of
            images, one name per row (ChestX-ray14's official lists). Rows of
            other images are not read. Defaults to None: the annotation file
            itself.
        kwargs: See :class:`LabelReader` and :class:`BaseReader`.

    Examples:
        >>> reader = dict(type='CsvLabelReader')
        >>> chexpert = dict(
        ...     type='CsvLabelReader', uncertain='ones', blank='zeros',
        ...     where={'Frontal/Lateral': 'Frontal'})
        >>> nih = dict(  # splits=dict(train='train_val_list.txt', ...)
        ...     type='CsvLabelReader', findings_column='Finding Labels',
        ...     table='Data_Entry_2017_v2020.csv')
    """

    def __init__(
        self,
        image_column: str | None = None,
        findings_column: str | None = None,
        separator: str = '|',
        no_finding: str = 'No Finding',
        where: Mapping[str, Any] | None = None,
        table: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_column = image_column
        self.findings_column = findings_column
        self.separator = separator
        self.no_finding = no_finding
        self.where = where
        self.table = table

    def open_table(self, ann_file: str, task: Task) -> CsvTable:
        """Open the table with the labels; see :class:`BaseReader`."""
        return CsvTable(self._labels_file(ann_file, task), _hint(task))

    def image_index(self, table: CsvTable) -> int:
        """Return the number of the column with the images' names."""
        if self.image_column is None:
            return 0
        return table.column(self.image_column, 'image_column')

    def rows(self, ann_file: str, task: Task) -> Iterator[LabelRow]:
        """Walk the rows; see :class:`LabelReader`."""
        path = self._labels_file(ann_file, task)
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

    def _labels_file(self, ann_file: str, task: Task) -> str:
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
        for number, line in enumerate(read_lines(ann_file, _hint(task)), 1):
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
        table = CsvTable(path, _hint(task), self.where)
        image = self.image_index(table)
        if self.findings_column is not None:
            findings = table.column(self.findings_column, 'findings_column')
        else:
            pick = _picker(
                [
                    table.column(name, f'a class of task {task.name}')
                    for name in task.classes
                ]
            )
        # few different lists of findings, many rows
        known: dict[str, Sequence[str]] = {}
        for number, cells in table:
            name = cells[image].strip()
            if wanted is not None and name not in wanted:
                continue
            if self.findings_column is None:
                yield number, name, pick(cells)
                continue
            text = cells[findings]
            if text not in known:
                known[text] = self._findings(
                    text, f'{path}, row {number}', task.classes
                )
            yield number, name, known[text]

    def _names(self, path: str, task: Task) -> set[str]:
        """Return all images of a table, whatever ``where`` keeps."""
        table = CsvTable(path, _hint(task))
        image = self.image_index(table)
        return {cells[image].strip() for _, cells in table}

    def _findings(
        self, cell: str, where: str, classes: Sequence[str]
    ) -> Sequence[str]:
        names = [name.strip() for name in cell.split(self.separator)]
        if names == ['']:
            return ('',) * len(classes)
        for name in names:
            if name not in classes and name != self.no_finding:
                raise UserError(
                    f'{where}, column "{self.findings_column}": "{name}" is '
                    f'not a class of the task; its classes are: '
                    f'{", ".join(classes)}.'
                )
        return tuple('1' if name in names else '0' for name in classes)


def _hint(task: Task) -> str:
    return annotation_of(task.name)


def _picker(columns: list[int]) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return a function from cells to those of the columns, as a tuple."""
    if len(columns) > 1:
        return itemgetter(*columns)
    (column,) = columns
    return lambda cells: (cells[column],)
