"""Tables with a header, read row by row with errors that name the row."""

import csv
import itertools
import logging
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log_once
from fx_mm.utils.text_files import read_lines

DELIMITERS = {
    ',': 'commas',
    ';': 'semicolons',
    '\t': 'tabs',
    '|': 'vertical bars',
}
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""What table programs write into a line of its own above the header."""
SAMPLE = 20
"""Lines that tell what separates the columns."""


class CsvTable:
    """A CSV file with a header, read row by row.

    Columns are separated by commas, or by what :func:`find_delimiter` finds;
    the log says so. A first line ``sep=;`` says it too. Blanks around the
    names in the header do not count, nor does how Unicode composes their
    letters. Columns without a name may be missing at the end of a row. Each
    iteration reads the file again.

    Args:
        path (str | Path): The file; see :func:`read_lines`.
        hint (str): What it is or what to do, for the messages.
        where (Mapping, optional): Column name to the value, or list of
            values, of the rows to keep. Defaults to None, which keeps all.

    Attributes:
        path (str | Path): The file.
        header (list[str]): Names of the columns.
        delimiter (str): What separates them.

    Raises:
        UserError: If the file is missing, empty, not UTF-8, or a column's
            name is in the header twice.

    Examples:
        >>> table = CsvTable('train.csv', 'download it again')
        >>> for where, (image, age) in table.rows('image', 'age'):
        ...     ...
    """

    def __init__(
        self,
        path: str | Path,
        hint: str,
        where: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._hint = hint
        # Run-length codes and polygons exceed the module's 131,072 characters.
        csv.field_size_limit(sys.maxsize)
        sample = list(itertools.islice(read_lines(path, hint), SAMPLE))
        stated = _SEPARATOR.fullmatch(sample[0])
        self._skipped = 0 if stated is None else 1
        self.delimiter = (
            find_delimiter(sample[self._skipped :])
            if stated is None or stated[1] not in DELIMITERS
            else stated[1]
        )
        if self.delimiter != ',':
            log_once(
                f'{path}: its columns are separated by '
                f'{DELIMITERS[self.delimiter]} and not by commas.',
                logging.WARNING,
            )
        _, header = next(self._cells(), (1, []))
        self.header = [_plain(name) for name in header]
        named = [name for name in self.header if name]
        if not named:
            raise UserError(f'{path}: has no header; {hint}.')
        for name in named:
            if named.count(name) > 1:
                raise UserError(
                    f'{path}: column "{name}" is in the header twice; '
                    'rename one.'
                )
        self._where = [
            (self.column(name, 'where'), name, _texts(values))
            for name, values in (where or {}).items()
        ]

    def __contains__(self, name: str) -> bool:
        return _plain(name) in self.header

    def column(self, name: str, what: str = '') -> int:
        """Find a column.

        Args:
            name (str): Its name.
            what (str): What it is for, for the message. Defaults to ''.

        Raises:
            UserError: Names the column and lists those that are there.
        """
        if name not in self:
            what = what and f' ({what})'
            # where a quote is open, the name of a column is half the file
            shown = (' '.join(c.split())[:60] for c in self.header if c)
            found = ', '.join(f'"{c}"' for c in shown)
            raise UserError(
                f'{self.path}: has no column "{name}"{what}; it has: {found}.'
            )
        return self.header.index(_plain(name))

    def rows(self, *names: str) -> Iterator[tuple[str, list[str]]]:
        """Read some columns.

        Args:
            *names (str): Names of the columns.

        Yields:
            tuple[str, list[str]]: Where the row is, for messages; its cells
            in the order of the names, without blanks around.

        Raises:
            UserError: If a column is missing, there is no row, or as
                iteration.
        """
        columns = [self.column(name) for name in names]
        # itemgetter of one column would return no tuple
        pick = itemgetter(*columns, columns[0])
        number = None
        for number, cells in self:
            where = f'{self.path}, row {number}'
            yield where, list(map(str.strip, pick(cells)[:-1]))
        if number is None:
            raise UserError(
                f'{self.path}: has a header but no rows; {self._hint}.'
            )

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (row number in the file, list of cells).

        Raises:
            UserError: If a row is not CSV or of another length than the
                header, or ``where`` leaves no row.
        """
        width = len(self.header)
        others: list[set[str]] = [set() for _ in self._where]
        left = False
        rows = self._cells()
        next(rows)
        for number, cells in rows:
            if len(cells) != width:
                self._fit(cells, number)
            for (column, _, values), other in zip(self._where, others):
                if cells[column].strip() not in values:
                    if len(other) < 10:
                        other.add(cells[column].strip())
                    break
            else:
                left = True
                yield number, cells
        if not left and any(others):
            raise UserError(
                f'{self.path}: "where" leaves no row; the other values of '
                + '; '.join(
                    f'column "{name}" are '
                    + ', '.join(f'"{text}"' for text in sorted(other))
                    for (_, name, _), other in zip(self._where, others)
                    if other
                )
                + '.'
            )

    def _fit(self, cells: list[str], number: int) -> None:
        """Complete a row that lacks only cells of columns without a name."""
        width = len(self.header)
        named = max(i + 1 for i, name in enumerate(self.header) if name)
        if len(cells) < named or any(cells[width:]):
            raise UserError(
                f'{self.path}, row {number}: has {len(cells)} cells, but the '
                f'header has {width}; complete the row.'
            )
        cells[width:] = []
        cells += [''] * (width - len(cells))

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows of the file that are not blank, the header first."""
        lines = read_lines(self.path, self._hint)
        reader = csv.reader(
            itertools.islice(lines, self._skipped, None),
            delimiter=self.delimiter,
            strict=True,  # else an open quote swallows rows
        )
        try:
            for cells in reader:
                # the first sign alone decides nearly always, and quickly
                if cells and (
                    ' ' < cells[0][:1] < '\x7f'
                    or any(cell.strip() for cell in cells)
                ):
                    yield reader.line_num + self._skipped, cells
        except csv.Error as error:
            number = reader.line_num + self._skipped
            raise UserError(
                f'{self.path}, row {number}: is not valid CSV ({error}).'
            ) from error


def find_delimiter(lines: Iterable[str]) -> str:
    """Find what separates the columns of a table.

    It is in the header as often as in the rows below, between quotes not
    counted: commas within the cells of another table are not.

    Args:
        lines (Iterable[str]): The first lines of the file.

    Returns:
        str: A key of :data:`DELIMITERS`; the comma if several would do
        equally.
    """
    lines = [line for line in lines if not line.isspace()]
    header = re.sub('"[^"]*"', '', lines[0]) if lines else ''
    counts = {each: header.count(each) for each in DELIMITERS}
    known = [each for each in DELIMITERS if counts[each]]
    fitting = [each for each in known if _fits(lines, each)]
    if fitting or not counts[',']:
        return max(fitting or known or ',', key=lambda each: counts[each])
    return ','


def _fits(lines: list[str], delimiter: str) -> bool:
    """Whether rows that are cut at a delimiter have one number of cells."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return False
    if len(lines) >= SAMPLE:
        del rows[-1]  # may go on below the sample
    return len({len(row) for row in rows}) == 1


def _plain(name: str) -> str:
    """Return the name of a column in the one form that is compared."""
    return unicodedata.normalize('NFC', name.strip('\ufeff')).strip()


def _texts(values: Any) -> frozenset[str]:
    """Return the texts of one value or of several."""
    if isinstance(values, list | tuple | set | frozenset):
        return frozenset(str(value).strip() for value in values)
    return frozenset([str(values).strip()])
