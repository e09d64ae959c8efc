"""Image labels from a CSV file with a header."""

import os.path as osp
from collections.abc import Iterator, Mapping
from operator import itemgetter

from fx_mm.datasets.readers.images import Folder
from fx_mm.datasets.readers.labels import LabelReader
from fx_mm.datasets.readers.tables import Table, read_lines
from fx_mm.registry import READERS
from fx_mm.utils.errors import UserError


@READERS.register_module()
class CsvLabelReader(LabelReader):
    """Reads image labels: one row an image, one column a class.

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
            and a blank cell is blank for all. Defaults to None: one column a
            class.
        separator (str): Between the findings. Defaults to '|'.
        no_finding (str): Stands for an empty list. Defaults to 'No Finding'.
        where (dict, optional): Column name to the value, or list of values,
            of the rows to read, as the file writes them. Defaults to None,
            which reads all.
        table (str, optional): The CSV file with the labels, relative to the
            annotation file's folder, where that file is only a list of
            images, one name a row (ChestX-ray14's official lists). Rows of
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
        where: Mapping | None = None,
        table: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.image_column = image_column
        self.findings_column = findings_column
        self.separator = separator
        self.no_finding = no_finding
        self.where = where
        self.table = table

    def rows(self, ann_file: str, task) -> Iterator[tuple]:
        """Walk the rows; see :class:`LabelReader`."""
        if self.table is None:
            for number, name, cells in self._table_rows(ann_file, task):
                yield number, name, f'{ann_file}, row {number}', cells
            return
        path = Folder(osp.dirname(ann_file), self.data_root).join(self.table)
        if path is None:
            raise UserError(
                f'The table of the reader of task {task.name}, "{self.table}",'
                ' leads out of the data folder; write its path relative to '
                'the list of images.'
            )
        wanted = self._wanted(ann_file, task)
        found: dict = {}
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
                    f'{path}; is it the table of another release?'
                )

    @staticmethod
    def _wanted(ann_file: str, task) -> dict:
        """Read a list of images: name to row, in order."""
        wanted: dict = {}
        for number, line in enumerate(read_lines(ann_file, task.name), 1):
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
        self, path: str, task, wanted: dict | None = None
    ) -> Iterator[tuple]:
        """Yield row number, image name and the texts of the classes."""
        table = Table(path, task.name, self.where)
        image = self._image(table)
        if self.findings_column is not None:
            findings = table.column(self.findings_column, 'findings_column')
        else:
            pick = _picker(
                [
                    table.column(name, f'a class of task {task.name}')
                    for name in task.classes
                ]
            )
        known: dict = {}  # few different lists of findings, many rows
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

    def _image(self, table: Table) -> int:
        if self.image_column is None:
            return 0
        return table.column(self.image_column, 'image_column')

    def _names(self, path: str, task) -> set:
        """Give the images of a table, whatever ``where`` leaves of them."""
        table = Table(path, task.name)
        image = self._image(table)
        return {cells[image].strip() for _, cells in table}

    def _findings(self, cell: str, where: str, classes) -> tuple:
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


def _picker(columns: list):
    """Give a function from cells to those of the columns, always a tuple."""
    if len(columns) > 1:
        return itemgetter(*columns)
    (column,) = columns
    return lambda cells: (cells[column],)
