"""Numbers of images from a CSV file with a header."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fx_mm.datasets.readers.csv_rows import CsvRowReader
from fx_mm.datasets.readers.images import ImageNames
from fx_mm.datasets.records import Records
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


@READERS.register_module()
class CsvValueReader(CsvRowReader):
    """Reads numbers: one row per image, one column per target.

    A cell holds a number with a decimal point; blank and ``nan`` are unknown.

    Args:
        **kwargs: See :class:`CsvRowReader` and :class:`BaseReader`.

    Examples:
        >>> brixia = dict(
        ...     type='CsvValueReader', image_column='Filename',
        ...     where={'Modality': ['CR', 'DX']})
        >>> age = dict(  # splits=dict(train='train_val_list.txt', ...)
        ...     type='CsvValueReader', table='Data_Entry_2017_v2020.csv')
    """

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make up ``gt_value``: standardised numbers."""
        values = rng.standard_normal(len(task.classes))
        return dict(gt_value=values.astype(np.float32))

    def parser(self, task: Task) -> 'ValueColumns':
        """Return what turns the texts of numbers into values."""
        return ValueColumns(task)


class ValueColumns:
    """Turns the texts of numbers into values, target by target.

    Args:
        task (Task): Says which targets there are.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def parse(
        self, rows: Sequence[Sequence[str]], places: Sequence[str]
    ) -> np.ndarray:
        """Read the numbers of some images; see :class:`RowParser`.

        Returns:
            np.ndarray: float32 (n, C), NaN where unknown.

        Raises:
            UserError: Names file, row and column of what is not a number.
        """
        values = np.empty((len(rows), len(self.task.classes)), np.float32)
        for column, texts in enumerate(zip(*rows)):
            # what float32 cannot hold becomes infinite, and is refused too
            with np.errstate(over='ignore'):
                values[:, column] = _numbers(texts)
            for row in np.isinf(values[:, column]).nonzero()[0][:1]:
                raise UserError(
                    f'{places[row]}, column "{self.task.classes[column]}": '
                    f'"{texts[row].strip()}" is not a number; write one such '
                    'as 0.45 or -3, or nothing if it is unknown.'
                )
        return values

    def records(self, images: ImageNames, values: np.ndarray) -> Records:
        """Put images and numbers together; see :class:`RowParser`."""
        return Records.of_columns(
            img_path=images.paths, img_id=images.names, gt_value=values
        )


def _numbers(texts: Sequence[str]) -> np.ndarray:
    """Read a column, infinite where it is not a number."""
    try:
        # all at once, without a call per text
        if '_' not in ''.join(texts):
            return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        pass
    return np.fromiter(map(parse_value, texts), np.float64, len(texts))


def parse_value(text: str) -> float:
    """Read one number: NaN if it is unknown, infinite if it is not one."""
    text = text.strip()
    try:
        # Python reads 1_000
        return float(text or 'nan') if '_' not in text else math.inf
    except ValueError:
        return math.inf
