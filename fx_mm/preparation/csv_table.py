"""The CSV reader of the preparation."""

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from fx_mm.utils.errors import UserError


class CsvTable:
    """A CSV file with a header, read row by row.

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
            raise UserError(f'{path}: the file is empty; download it again.')
        self.header = [name.strip() for name in header[1]]

    def __contains__(self, name: str) -> bool:
        return name in self.header

    def rows(self, *names: str) -> Iterator[tuple[str, list[str]]]:
        """Yield the cells of some columns.

        Args:
            *names (str): Names of the columns.

        Yields:
            tuple[str, list[str]]: Where the row is, for messages; its cells,
            in the order of the names, stripped.

        Raises:
            UserError: If a column is missing, a row is shorter or longer
                than the header, or there is none.
        """
        columns = [self._column(name) for name in names]
        # itemgetter of one column would return no tuple
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
                f'{self.path}: has a header but no rows; download it again.'
            )

    def _column(self, name: str) -> int:
        if name not in self.header:
            found = ', '.join(f'"{c}"' for c in self.header if c)
            raise UserError(
                f'{self.path}: has no column "{name}"; it has: {found}.'
            )
        return self.header.index(name)

    def _fits(self, cells: list[str]) -> bool:
        """Whether only cells of columns without a name differ."""
        named = max(i + 1 for i, name in enumerate(self.header) if name)
        return len(cells) >= named and not any(cells[len(self.header) :])

    def _read(self) -> Iterator[tuple[int, list[str]]]:
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
                'download it again.'
            ) from error
