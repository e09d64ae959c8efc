"""The tables of official releases and the values in them."""

import csv
import gzip
import math
import re
import sys
import zlib
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from fx_mm.utils.errors import UserError

VALUES = {'0': 0, '1': 1, '0.0': 0, '1.0': 1, '-1': -1, '-1.0': -1, '': None}
SEXES = {'f': 'F', 'female': 'F', 'femal': 'F', 'm': 'M', 'male': 'M'}


class Table:
    """A CSV file of a release, read row by row.

    Plain or compressed (``.gz``), with or without byte order mark, any line
    ends. Blanks around the names in the header do not count.

    Args:
        path (Path): The file.

    Raises:
        UserError: If the file cannot be read or has no header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = self._read()
        header = next(self._rows, None)
        if header is None:
            raise UserError(f'{path}: the file is empty; download it anew.')
        self.header = [name.strip() for name in header[1]]

    def __contains__(self, name: str) -> bool:
        return name in self.header

    def rows(self, *names: str) -> Iterator[tuple]:
        """Yield the cells of some columns.

        Args:
            *names (str): Names of the columns.

        Yields:
            tuple[str, list[str]]: Where the row is, for messages; its cells,
            in the order of the names, without blanks around.

        Raises:
            UserError: If a column is missing, a row is shorter or longer
                than the header, or there is none.
        """
        columns = [self._column(name) for name in names]
        # itemgetter of one column would give no tuple
        pick = itemgetter(*columns, columns[0])
        width = len(self.header)
        number = None
        for number, cells in self._rows:
            where = f'{self.path}, row {number}'
            if len(cells) != width and not self._fits(cells):
                raise UserError(
                    f'{where}: has {len(cells)} cells, but the header has '
                    f'{width}; is the file whole?'
                )
            yield where, list(map(str.strip, pick(cells)[:-1]))
        if number is None:
            raise UserError(
                f'{self.path}: has a header but no rows; download it anew.'
            )

    def _column(self, name: str) -> int:
        if name not in self.header:
            found = ', '.join(f'"{c}"' for c in self.header if c)
            raise UserError(
                f'{self.path}: has no column "{name}"; it has: {found}.'
            )
        return self.header.index(name)

    def _fits(self, cells: list) -> bool:
        """Whether only cells of columns without a name differ."""
        named = max(i + 1 for i, name in enumerate(self.header) if name)
        return len(cells) >= named and not any(cells[len(self.header) :])

    def _read(self) -> Iterator[tuple]:
        csv.field_size_limit(sys.maxsize)  # run-length codes are long
        opened = gzip.open if self.path.suffix == '.gz' else open
        number = 0
        try:
            with opened(
                self.path, 'rt', encoding='utf-8-sig', newline=''
            ) as file:
                reader = csv.reader(file, strict=True)
                for cells in reader:
                    number = reader.line_num
                    if any(cells):
                        yield number, cells
        except (
            OSError,
            EOFError,
            zlib.error,
            csv.Error,
            UnicodeDecodeError,
        ) as error:
            raise UserError(
                f'{self.path}: cannot be read after row {number} ({error}); '
                'download it anew.'
            ) from error


def parse_value(text: str, where: str) -> float | None:
    """Read a label: 0, 1, -1 for uncertain, None for blank.

    Raises:
        UserError: If it is something else.
    """
    if text not in VALUES:
        raise UserError(
            f'{where}: label "{text}" is none of 0, 1, -1 and blank; is the '
            'file of this release?'
        )
    return VALUES[text]


def parse_box(name: str, numbers: list, where: str, size: bool = False):
    """Read a box.

    Args:
        name (str): Its class.
        numbers (list): x1, y1, x2, y2 as text or numbers.
        where (str): For the message.
        size (bool): Whether the last two are width and height. Defaults to
            False.

    Returns:
        tuple: (class name, x1, y1, x2, y2) in pixels.

    Raises:
        UserError: If a number is none, or the box has no area.
    """
    try:
        x1, y1, x2, y2 = (float(n) for n in numbers)
    except (TypeError, ValueError):
        x1 = y1 = x2 = y2 = math.nan
    if size:
        x2, y2 = x1 + x2, y1 + y2
    if not (x1 < x2 < math.inf and y1 < y2 < math.inf):
        raise UserError(
            f'{where}: the box of {name} ({_join(numbers)}) is no rectangle; '
            'correct it or delete it.'
        )
    return name, x1, y1, x2, y2


def _join(numbers) -> str:
    if isinstance(numbers, (list, tuple)):
        return ', '.join(map(str, numbers))
    return str(numbers)


def parse_sex(text: str) -> str | None:
    """Give F or M; None for anything else."""
    return SEXES.get(text.strip().lower())


def parse_age(text: str) -> float | None:
    """Give an age in years.

    Args:
        text (str): Such as ``45``, ``058Y``, ``45yrs``, ``16month``.

    Returns:
        Optional[float]: The age; None if there is no number.
    """
    if text.isdecimal():
        return int(text)
    match = re.search(r'(\d+(?:\.\d+)?)\s*([a-z]?)', text.lower())
    if match is None:
        return None
    parts = {'m': 12, 'w': 52.18, 'd': 365.25}.get(match[2], 1)
    age = float(match[1]) / parts
    return int(age) if age == int(age) else round(age, 2)
