"""Tables of text: aligned for a console, or in Markdown."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000
"""Columns of the console that is rendered to: no cell is wrapped."""
RULE = Box('    \n    \n -- \n    \n    \n    \n    \n    \n', ascii=True)
"""A line below the titles and nothing else."""


def console_table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], left: int = 1
) -> str:
    """Align columns, with a line below the titles.

    Args:
        header (Sequence[str]): Titles; one that contains a comma and a blank
            stands on several lines, split there.
        rows (Iterable[Sequence]): Cells, anything that ``str`` takes.
        left (int): The first columns, which are aligned to the left; the
            others are to the right. Defaults to 1.

    Returns:
        str: Lines without blanks at their ends.
    """
    table = Table(
        box=RULE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    titles = [title.split(', ') for title in header]
    height = max(map(len, titles), default=0)
    for number, title in enumerate(titles):
        lines = [''] * (height - len(title)) + title
        table.add_column(
            Text('\n'.join(lines)),
            justify='left' if number < left else 'right',
            no_wrap=True,
        )
    for row in rows:
        # as it is: a cell like [0.1, 0.2] is no markup
        table.add_row(*(Text(str(cell)) for cell in row))
    stream = io.StringIO()
    console = Console(
        file=stream, width=WIDE, color_system=None, force_jupyter=False
    )
    console.print(table)
    return '\n'.join(map(str.rstrip, stream.getvalue().splitlines()))


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> str:
    """Return a table in Markdown.

    Args:
        header (Sequence[str]): Titles.
        rows (Iterable[Sequence]): Cells, anything that ``str`` takes.
    """
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(
        '| ' + ' | '.join(str(c).replace('|', r'\|') for c in line) + ' |'
        for line in lines
    )
