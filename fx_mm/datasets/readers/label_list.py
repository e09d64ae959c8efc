"""Image labels from a list without a header."""

from collections.abc import Iterator, Sequence
from typing import Any

from fx_mm.datasets.readers.base import annotation_of
from fx_mm.datasets.readers.labels import LabelReader
from fx_mm.datasets.readers.patient_ids import read_patient
from fx_mm.datasets.readers.rows import Row
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_lines


@READERS.register_module()
class ListLabelReader(LabelReader):
    """Reads image labels from rows ``file l1 l2 .. lC``.

    This is the format of the published split lists of ChestX-ray14, VinDr-CXR
    and others: no header, the labels in the order of the task's classes,
    separated by blanks, commas or semicolons (or a blank, then commas:
    ChestDR). For -1
    and ``nan`` see :class:`LabelReader`.

    Args:
        class_index (bool): Whether rows are ``file k`` instead, k being the
            number of the image's only class, from 0 (as RSNA's lists are).
            Defaults to False.
        class_column (int, optional): Number of the column, from 0, with the
            image's only class by name, in rows of columns that hold no
            blanks, such as COVIDx's ``patient file class source``. With
            ``class_index`` by number. Defaults to None.
        image_column (int): Number of the column with the image's name, where
            there is a ``class_column``. Defaults to 0.
        header (bool): Whether the first row is a header, which is not read.
            Defaults to False.
        kwargs: See :class:`LabelReader` and :class:`BaseReader`.

    Examples:
        >>> vindr = dict(type='ListLabelReader', img_suffix='.jpeg')
        >>> rsna = dict(type='ListLabelReader', class_index=True)
        >>> covidx = dict(
        ...     type='ListLabelReader', image_column=1, class_column=2)
    """

    def __init__(
        self,
        class_index: bool = False,
        class_column: int | None = None,
        image_column: int = 0,
        header: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if class_column is None and image_column != 0:
            raise UserError(
                "The reader's image_column needs a class_column; without one "
                'the labels follow the image.'
            )
        for name, value in (('class', class_column), ('image', image_column)):
            if value is not None:
                check_number(
                    f"The reader's {name}_column", value, 0, whole=True
                )
        self.class_index = class_index
        self.class_column = class_column
        self.image_column = image_column
        self.header = header

    def rows(self, ann_file: str, task: Task) -> Iterator[Row]:
        """Walk the rows; see :class:`RowReader`."""
        known: dict[str, tuple[str, ...]] = {}
        lines = read_lines(ann_file, annotation_of(task, ann_file))
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if not line or (self.header and number == 1):
                continue
            where = f'{ann_file}, row {number}'
            labels: Sequence[str]
            if self.class_column is not None:
                name, *labels = self._columns(line, where, self.class_column)
            else:
                name, *labels = self._split(line, where, task)
            if self.class_index or self.class_column is not None:
                (text,) = labels
                if text not in known:
                    known[text] = self._one_hot(text.strip(), where, task)
                labels = known[text]
            yield number, name, where, labels

    def patients(self, ann_file: str, task: Task) -> dict[str, str]:
        """Read the patient IDs, where a header names their column."""
        if not self.header or self.class_column is None:
            return {}
        lines = read_lines(ann_file, annotation_of(task, ann_file))
        header, *rows = (_cells(line) for line in map(str.strip, lines))
        taken = (self.image_column, self.class_column)
        names = {
            name.strip(): column
            for column, name in enumerate(header)
            if column not in taken
        }
        name = self.find_patient(ann_file, 'column', names)
        if name is None:
            return {}
        return {
            row[self.image_column].strip(): patient
            for row in rows
            if len(row) > max(names[name], *taken)
            and (patient := read_patient(row[names[name]])) is not None
        }

    def _columns(self, line: str, where: str, class_column: int) -> list[str]:
        """Return name and class of a row of columns."""
        cells = _cells(line)
        columns = [self.image_column, class_column]
        if len(cells) <= max(columns):
            raise UserError(
                f'{where}: has {len(cells)} columns, but the reader asks for '
                f'column {max(columns)} (counted from 0).'
            )
        return [cells[column] for column in columns]

    def _split(self, line: str, where: str, task: Task) -> list[str]:
        """Split a row into name and labels; a name may hold blanks."""
        count = 1 if self.class_index else len(task.classes)
        if ',' not in line and line.count(';') == count:
            line = line.replace(';', ',')
        commas = ',' in line
        cells = line.split(',') if commas else line.rsplit(maxsplit=count)
        if commas and len(cells) == count and _trailing_numbers(cells[0]) == 1:
            cells[:1] = cells[0].rsplit(maxsplit=1)  # "file l1,l2,..,lC"
        found = len(cells) - 1
        if found == count and not commas:
            # one label too many would end up in the name
            found += _trailing_numbers(cells[0])
        if found != count:
            if self.class_index:
                raise UserError(
                    f'{where}: has {found} labels instead of one class '
                    'number; set class_index=False if it has one per class.'
                )
            raise UserError(
                f'{where}: has {found} labels, but task {task.name} has '
                f'{count} classes ({", ".join(task.classes)}); correct the '
                'row or the classes, and use commas if names hold blanks.'
            )
        return cells

    def _one_hot(self, text: str, where: str, task: Task) -> tuple[str, ...]:
        classes = task.classes
        if not self.class_index:
            if text not in classes:
                raise UserError(
                    f'{where}: class "{text}" is not one of '
                    f'{", ".join(classes)}.'
                )
            return tuple('1' if name == text else '0' for name in classes)
        if not text.isdecimal() or int(text) >= len(classes):
            raise UserError(
                f'{where}: class number "{text}" is not one of 0 to '
                f'{len(classes) - 1} ({", ".join(classes)}).'
            )
        return tuple('01'[i == int(text)] for i in range(len(classes)))


def _cells(line: str) -> list[str]:
    """Cut a row at its commas, else its semicolons, else its blanks."""
    return line.split(next((each for each in ',;' if each in line), None))


def _trailing_numbers(name: str) -> int:
    """Count the label-like words that follow a file name."""
    count = 0
    for word in reversed(name.split()[1:]):
        try:
            float(word)
        except ValueError:
            break
        count += 1
    return count
