"""Reports of images from a CSV file with a header."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fx_mm.datasets.readers.csv_rows import CsvRowReader, Pick
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.images import ImageNames
from fx_mm.datasets.records import Records
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


@READERS.register_module()
class CsvReportReader(CsvRowReader):
    """Reads free text: one row per image, its report in a column.

    White space of any length becomes one blank.

    Args:
        report_column (str): Name of the column. Defaults to 'report'.
        **kwargs: See :class:`CsvRowReader` and :class:`BaseReader`.

    Examples:
        >>> reports = dict(type='CsvReportReader', report_column='findings')
    """

    def __init__(self, report_column: str = 'report', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report_column = report_column

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make up ``gt_report``: some of the classes."""
        drawn = rng.random(len(task.classes)) < 0.3
        names = [name for name, has in zip(task.classes, drawn) if has]
        return dict(gt_report=' '.join(f'{name}.' for name in names))

    def pick(self, table: CsvTable, task: Task) -> Pick:
        """Return what finds the report of a row; see :class:`CsvRowReader`."""
        column = table.column(self.report_column, 'report_column')
        return lambda number, cells: (cells[column],)

    def parser(self, task: Task) -> 'Reports':
        """Return what checks the texts."""
        return Reports()


class Reports:
    """Texts, in one form; see :class:`RowParser`."""

    def parse(
        self, rows: Sequence[Sequence[str]], places: Sequence[str]
    ) -> np.ndarray:
        """Read the reports of some images; see :class:`RowParser`.

        Returns:
            np.ndarray: Strings as objects (n,).

        Raises:
            UserError: Names file and row of a blank one.
        """
        texts = np.empty(len(rows), object)
        for index, (text,) in enumerate(rows):
            texts[index] = ' '.join(text.split())
            if not texts[index]:
                raise UserError(
                    f'{places[index]}: the report is blank; delete the row of '
                    'an image that has none.'
                )
        return texts

    def records(self, images: ImageNames, values: np.ndarray) -> Records:
        """Put images and reports together; see :class:`RowParser`."""
        return Records.of_columns(
            img_path=images.paths,
            img_id=images.names,
            gt_report=list(values),
        )
