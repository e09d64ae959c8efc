"""Text files of official datasets."""

import csv
import gzip
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fx_mm.utils.files import write_whole


def write_table(
    path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]
) -> None:
    """Write a CSV file; None is a blank.

    Args:
        path (Path): The file; compressed if it ends in ``.gz``.
        header (Iterable[str]): Names of the columns.
        rows (Iterable[Iterable]): Values of each row.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    content = text.getvalue().encode()
    if path.suffix == '.gz':
        # Without the time of day, the same table has the same bytes.
        content = gzip.compress(content, mtime=0)
    write_whole(path, content, flush=False)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, one line per item."""
    write_whole(path, ''.join(f'{line}\n' for line in lines), flush=False)
