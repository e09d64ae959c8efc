"""Image labels from a CSV file with a header."""

from collections.abc import Sequence
from typing import Any

from fx_mm.datasets.readers.csv_rows import CsvRowReader, Pick
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.labels import LabelReader
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


@READERS.register_module()
class CsvLabelReader(CsvRowReader, LabelReader):
    """Reads image labels: one row per image, one column per class.

    Columns are found by name, so their order and further columns do not
    matter. A cell holds a number in 0..1; for -1, blank and ``nan`` see
    :class:`LabelReader`. Alternatively one column holds the names of all
    findings. The file may be gzipped.

    Args:
        findings_column (str, optional): Name of a column that lists the
            findings of the image, as ChestX-ray14's ``Finding Labels`` does
            (``Cardiomegaly|Emphysema``); classes that are not listed are 0,
            and a blank cell is blank for all. Defaults to None: one column
            per class.
        separator (str): Between the findings. Defaults to '|'.
        no_finding (str): Stands for an empty list. Defaults to 'No Finding'.
        **kwargs: See :class:`CsvRowReader`, :class:`LabelReader` and
            :class:`BaseReader`.

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
        findings_column: str | None = None,
        separator: str = '|',
        no_finding: str = 'No Finding',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.findings_column = findings_column
        self.separator = separator
        self.no_finding = no_finding

    def pick(self, table: CsvTable, task: Task) -> Pick:
        """Return what finds the labels of a row; see :class:`CsvRowReader`."""
        if self.findings_column is None:
            return super().pick(table, task)
        findings = table.column(self.findings_column, 'findings_column')
        # few different lists of findings, many rows
        known: dict[str, Sequence[str]] = {}

        def labels(number: int, cells: Sequence[str]) -> Sequence[str]:
            text = cells[findings]
            if text not in known:
                where = f'{table.path}, row {number}'
                known[text] = self._findings(text, where, task.classes)
            return known[text]

        return labels

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
