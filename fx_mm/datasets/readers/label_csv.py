"""Image labels from a CSV file with a header."""

import math

import numpy as np

from ...registry import READERS
from ...utils.errors import UserError
from .base import BaseReader, Table, check_one_hot, parse_labels


@READERS.register_module()
class CsvLabelReader(BaseReader):
    """Reads image labels: one row an image, one column a class.

    Columns are found by name, so their order and further columns do not
    matter. A cell holds a number in 0..1; blank or ``nan`` means unknown.
    Alternatively one column holds the names of all findings.

    Args:
        image_column (str, optional): Name of the column with the image's
            name. Defaults to None, the first column.
        findings_column (str, optional): Name of a column that lists the
            findings of the image, as ChestX-ray14's ``Finding Labels`` does
            (``Cardiomegaly|Emphysema``); classes that are not listed are 0,
            a blank cell means all unknown. Defaults to None: one column a
            class.
        separator (str): Between the findings. Defaults to '|'.
        no_finding (str): Stands for an empty list. Defaults to 'No Finding'.
        uncertain (float, optional): Value that -1 stands for (``nan`` for
            unknown). Defaults to None, which refuses -1.
        kwargs: See :class:`BaseReader`.

    Examples:
        >>> reader = dict(type='CsvLabelReader')
        >>> nih = dict(
        ...     type='CsvLabelReader', findings_column='Finding Labels')
        >>> chexpert = dict(type='CsvLabelReader', uncertain=1.0)
    """

    def __init__(
        self,
        image_column: str | None = None,
        findings_column: str | None = None,
        separator: str = '|',
        no_finding: str = 'No Finding',
        uncertain: float | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.image_column = image_column
        self.findings_column = findings_column
        self.separator = separator
        self.no_finding = no_finding
        self.uncertain = uncertain

    def __call__(self, ann_file: str, img_dir: str, task) -> list[dict]:
        """Read one split; see :class:`BaseReader`."""
        table = Table(ann_file, task.name)
        image = 0
        if self.image_column is not None:
            image = table.column(self.image_column, 'image_column')
        if self.findings_column is not None:
            findings = table.column(self.findings_column, 'findings_column')
        else:
            columns = [
                table.column(name, f'a class of task {task.name}')
                for name in task.classes
            ]
        images = self.images(ann_file, img_dir)
        records = []
        for number, cells in table:
            record = images.add(cells[image], f'row {number}')
            if record is None:
                continue
            where = f'{ann_file}, row {number}'
            if self.findings_column is not None:
                scores = self._findings(cells[findings], where, task.classes)
            else:
                scores = parse_labels(
                    [cells[column] for column in columns],
                    task.classes,
                    where,
                    self.uncertain,
                )
            record['gt_score'] = np.array(scores, np.float32)
            if task.labels == 'multi-class':
                check_one_hot(record['gt_score'], where)
            records.append(record)
        images.finish()
        return records

    def _findings(self, cell: str, where: str, classes) -> list:
        names = [name.strip() for name in cell.split(self.separator)]
        if names == ['']:
            return [math.nan] * len(classes)
        for name in names:
            if name not in classes and name != self.no_finding:
                raise UserError(
                    f'{where}, column "{self.findings_column}": "{name}" is '
                    f'not a class of the task; its classes are: '
                    f'{", ".join(classes)}.'
                )
        return [float(name in names) for name in classes]
