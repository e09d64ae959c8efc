"""Reports of images, or answers to questions, from a CSV file."""

from collections import Counter
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

    Of a task with ``questions=True``, the table has any number of rows per
    image, each a question and its answer; records are then called after their
    image and the number of the question, ``a.png #2``. White space of any
    length becomes one blank. A text that is blank or ``nan``, or has a NUL
    character, is refused, and so is a question that is asked of an image
    twice.

    Args:
        report_column (str, optional): Name of the column. Defaults to None:
            ``report``, or ``answer`` where there are questions.
        question_column (str): Name of the column of questions. Defaults to
            'question'.
        **kwargs: See :class:`CsvRowReader` and :class:`BaseReader`.

    Examples:
        >>> reports = dict(type='CsvReportReader', report_column='findings')
    """

    def __init__(
        self,
        report_column: str | None = None,
        question_column: str = 'question',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if '' in (report_column, question_column):
            raise UserError(
                'report_column or question_column is blank; write the name '
                'of a column, or leave it out.'
            )
        self.report_column = report_column
        self.question_column = question_column

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make up ``gt_report``: some of the classes, or yes and no."""
        if task.config.get('questions'):
            name = task.classes[rng.integers(len(task.classes))]
            answer = ('no', 'yes')[rng.integers(2)]
            return dict(gt_report=answer, question=f'Is there a {name}?')
        drawn = rng.random(len(task.classes)) < 0.3
        names = [name for name, has in zip(task.classes, drawn) if has]
        return dict(gt_report=' '.join(f'{name}.' for name in names))

    def pick(self, table: CsvTable, task: Task) -> Pick:
        """Return what finds the texts of a row; see :class:`CsvRowReader`."""
        asks = task.config.get('questions')
        name = self.report_column or ('answer' if asks else 'report')
        columns = [table.column(name, 'report_column')]
        if asks:
            asked = table.column(self.question_column, 'question_column')
            columns.append(asked)
        return lambda number, cells: [cells[column] for column in columns]

    def parser(self, task: Task) -> 'Reports':
        """Return what checks the texts."""
        return Reports()

    def __call__(self, ann_file: str, img_dir: str, task: Task) -> Records:
        """Read one split; see :class:`BaseReader`."""
        if not task.config.get('questions'):
            return super().__call__(ann_file, img_dir, task)
        images, parser = self.images(ann_file, img_dir), self.parser(task)
        numbers: dict[str, int | None] = {}
        asked: Counter[str] = Counter()
        known: dict[tuple[str, str], int] = {}
        columns: dict[str, list[str]] = dict(
            img_path=[], img_id=[], gt_report=[], question=[]
        )
        for number, name, place, texts in self.rows(ann_file, task):
            name = name.strip()
            if name not in numbers:
                kept = images.add(name, number)
                numbers[name] = len(images.names) - 1 if kept else None
            asked[name] += 1
            index = numbers[name]
            if index is None:
                continue
            answer, question = parser.parse([texts], [place])[0]
            first = known.setdefault((name, question), number)
            if first != number:
                raise UserError(
                    f'{place}: "{question}" was already asked of image '
                    f'"{name}" in row {first}; keep one of the two.'
                )
            columns['img_path'].append(images.paths[index])
            columns['img_id'].append(question_id(name, asked[name]))
            columns['gt_report'].append(answer)
            columns['question'].append(question)
        images.finish()
        return Records.of_columns(**columns)

    def patients(self, ann_file: str, task: Task) -> dict[str, str]:
        """Read the patient IDs; see :class:`BaseReader`.

        Questions about an image belong together: where neither the table nor
        a pattern tells patients, the image counts as one.
        """
        known = super().patients(ann_file, task)
        if not task.config.get('questions'):
            return known
        by_pattern = task.config.get('patient') is not None
        asked: Counter[str] = Counter()
        for name in self.names(ann_file, task):
            asked[name] += 1
            owner = known.get(name, '' if by_pattern else name)
            known[question_id(name, asked[name])] = owner
        return known


class Reports:
    """Texts, in one form; see :class:`RowParser`."""

    def parse(
        self, rows: Sequence[Sequence[str]], places: Sequence[str]
    ) -> np.ndarray:
        """Read the texts of some images; see :class:`RowParser`.

        Returns:
            np.ndarray: Strings as objects (n, 1), or (n, 2) with questions.

        Raises:
            UserError: Names file and row of one that is none.
        """
        texts = np.empty((len(rows), len(rows[0])), object)
        for row, (cells, place) in enumerate(zip(rows, places)):
            for column, (cell, what) in enumerate(
                zip(cells, ('report', 'question'))
            ):
                text = texts[row, column] = ' '.join(cell.split())
                if text.lower() in ('', 'nan'):
                    raise UserError(
                        f'{place}: the {what} is {text or "blank"}; delete '
                        'the row of an image that has none.'
                    )
                if '\0' in text:
                    raise UserError(
                        f'{place}: the {what} has a NUL character; remove it.'
                    )
        return texts

    def records(self, images: ImageNames, values: np.ndarray) -> Records:
        """Put images and reports together; see :class:`RowParser`."""
        return Records.of_columns(
            img_path=images.paths,
            img_id=images.names,
            gt_report=values[:, 0].tolist(),
        )


def question_id(name: str, number: int) -> str:
    """Return what a question about an image is called."""
    return f'{name} #{number}'
