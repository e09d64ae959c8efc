"""Text files and CSV tables, read row by row with errors that name the row."""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from fx_mm.utils.errors import UserError

GZIP_SIGNATURE = b'\x1f\x8b'


def annotation_of(task_name: str) -> str:
    """Return the hint for the annotation file of a task."""
    return (
        f'it is the annotation file of task {task_name}, check data_root and '
        'splits'
    )


def read_lines(path: str | Path, hint: str) -> Iterator[str]:
    """Read a text file line by line; gzip, BOM and any line end are fine.

    Lines end at line feeds and carriage returns only: a form feed may be part
    of a table's cell.

    Args:
        path (str | Path): The file.
        hint (str): What it is or what to do, for the messages.

    Yields:
        str: A line with its end.

    Raises:
        UserError: If the file is missing, empty, cut off or not UTF-8.
    """
    blank = True
    try:
        with open(path, 'rb') as raw:
            packed = raw.peek(2)[:2] == GZIP_SIGNATURE
            data = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(data, 'utf-8-sig', newline='') as text:
                for line in text:
                    if blank and not line.isspace():
                        blank = False
                    yield line
    except UnicodeDecodeError as error:
        raise UserError(
            f'{path}: is not UTF-8 text (byte {_bad_byte(path, error)}); '
            'save it as UTF-8.'
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f'{path}: the gzip file is cut off or damaged; copy it again.'
        ) from error
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; {hint}.') from error
    if blank:
        raise UserError(f'{path}: the file is empty; {hint}.')


def _bad_byte(path: str | Path, error: UnicodeDecodeError) -> int:
    """Return the position of the first wrong byte of the (unpacked) file."""
    with open(path, 'rb') as file:
        data = file.read()
    if data.startswith(GZIP_SIGNATURE):
        data = gzip.decompress(data)
    try:
        data.decode('utf-8')
    except UnicodeDecodeError as whole:
        return whole.start
    return error.start


class CsvTable:
    """A CSV file with a header, read row by row.

    Blanks around the names in the header do not count. Columns without a name
    may be missing at the end of a row. Each iteration reads the file again.

    Args:
        path (str | Path): The file; see :func:`read_lines`.
        hint (str): What it is or what to do, for the messages.
        where (Mapping, optional): Column name to the value, or list of
            values, of the rows to keep. Defaults to None, which keeps all.

    Attributes:
        path (str | Path): The file.
        header (list[str]): Names of the columns.

    Raises:
        UserError: If the file is missing, empty, not UTF-8, or a column's
            name is in the header twice.

    Examples:
        >>> table = CsvTable('train.csv', annotation_of('nih14/cls'))
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
        _, header = next(self._cells(), (1, []))
        self.header = [name.strip() for name in header]
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
        return name in self.header

    def column(self, name: str, what: str = '') -> int:
        """Find a column.

        Args:
            name (str): Its name.
            what (str): What it is for, for the message. Defaults to ''.

        Raises:
            UserError: Names the column and lists those that are there.
        """
        if name not in self.header:
            what = what and f' ({what})'
            found = ', '.join(f'"{c}"' for c in self.header if c)
            raise UserError(
                f'{self.path}: has no column "{name}"{what}; it has: {found}.'
            )
        return self.header.index(name)

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
        reader = csv.reader(
            read_lines(self.path, self._hint),
            strict=True,  # else an open quote swallows rows
        )
        try:
            for cells in reader:
                # the first cell alone decides nearly always, and quickly
                if cells and (
                    cells[0].strip() or any(cell.strip() for cell in cells)
                ):
                    yield reader.line_num, cells
        except csv.Error as error:
            raise UserError(
                f'{self.path}, row {reader.line_num}: is not valid CSV '
                f'({error}).'
            ) from error


def _texts(values: Any) -> frozenset[str]:
    """Return the texts of one value or of several."""
    if isinstance(values, list | tuple | set | frozenset):
        return frozenset(str(value).strip() for value in values)
    return frozenset([str(values).strip()])
