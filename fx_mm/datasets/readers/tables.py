"""Text files and tables, read row by row with errors that name the row."""

import csv
import gc
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fx_mm.utils.errors import UserError

GZIP_SIGNATURE = b'\x1f\x8b'


def read_lines(path: str, task_name: str) -> Iterator[str]:
    """Read a text file line by line; gzip, BOM and any line end are fine.

    Lines end at line feeds and carriage returns only: a form feed may stand
    within the cell of a table.

    Args:
        path (str): Path of the file.
        task_name (str): For the messages.

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
        raise UserError(
            f'{path}: {error.strerror}; it is the annotation file of task '
            f'{task_name}, check data_root and splits.'
        ) from error
    if blank:
        raise UserError(
            f'{path}: the file is empty; it is the annotation file of task '
            f'{task_name}.'
        )


def _bad_byte(path: str, error: UnicodeDecodeError) -> int:
    """Give the number of the first wrong byte of the (unpacked) file."""
    with open(path, 'rb') as file:
        data = file.read()
    if data.startswith(GZIP_SIGNATURE):
        data = gzip.decompress(data)
    try:
        data.decode('utf-8')
    except UnicodeDecodeError as whole:
        return whole.start
    return error.start


class Table:
    """A CSV file with a header, read row by row.

    Args:
        path (str): Path of the file.
        task_name (str): For the messages.
        where (Mapping, optional): Column name to the value, or list of
            values, of the rows to keep. Defaults to None, which keeps all.

    Raises:
        UserError: If the file is missing, empty, no UTF-8, or a column's
            name stands twice in the header.
    """

    def __init__(
        self, path: str, task_name: str, where: Mapping | None = None
    ) -> None:
        self.path = path
        self._reader = csv.reader(
            read_lines(path, task_name),
            strict=True,  # else an open quote swallows rows
        )
        self.header = [name.strip() for name in next(self._rows())[1]]
        named = [name for name in self.header if name]
        for name in named:
            if named.count(name) > 1:
                raise UserError(
                    f'{path}: column "{name}" stands twice in the header; '
                    'rename one.'
                )
        self._where = [
            (self.column(name, 'where'), name, _texts(values))
            for name, values in (where or {}).items()
        ]

    def column(self, name: str, what: str) -> int:
        """Find a column.

        Raises:
            UserError: Names the column and lists those that are there.
        """
        if name not in self.header:
            found = ', '.join(f'"{c}"' for c in self.header)
            raise UserError(
                f'{self.path}: has no column "{name}" ({what}); '
                f'it has: {found}.'
            )
        return self.header.index(name)

    def __iter__(self) -> Iterator[tuple]:
        """Yield (row number in the file, list of cells).

        Raises:
            UserError: If a row is no CSV or of another length than the
                header, or ``where`` leaves no row.
        """
        width = len(self.header)
        others: list[set] = [set() for _ in self._where]
        left = False
        for number, cells in self._rows():
            if len(cells) != width:
                raise UserError(
                    f'{self.path}, row {number}: has {len(cells)} cells, but '
                    f'the header has {width}; complete the row.'
                )
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

    def _rows(self) -> Iterator[tuple]:
        while True:
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(
                    f'{self.path}, row {self._reader.line_num}: is not valid '
                    f'CSV ({error}).'
                ) from error
            # the first cell alone decides nearly always, and quickly
            if cells and (
                cells[0].strip() or any(cell.strip() for cell in cells)
            ):
                yield self._reader.line_num, cells


def _texts(values) -> frozenset:
    """Give the texts of one value or of several."""
    if isinstance(values, (list, tuple, set, frozenset)):
        return frozenset(str(value).strip() for value in values)
    return frozenset([str(values).strip()])


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Spare the collector the walks over a file's millions of new objects.

    They hold no cycles, so that counting references frees them all.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
