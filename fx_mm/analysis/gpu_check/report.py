"""The table of all stages."""

from collections.abc import Sequence
from typing import Any

from fx_mm.utils.text_table import console_table, markdown_table

HEADER = ('stage', 'what', 'value', 'bound', '')
WIDTH = 60
"""Of a value on a console; Markdown has all of it."""
MARKS = {
    ('check', True): 'passed',
    ('check', False): 'FAILED',
    ('goal', True): 'reached',
    ('goal', False): 'not reached',
}


def render(
    report: dict[str, Any], names: Sequence[str], markdown: bool = False
) -> str:
    """Render a report as a table.

    Args:
        report (dict): Its ``stages`` hold ``state``, ``results`` and perhaps
            ``error`` and ``seconds``.
        names (Sequence[str]): All stages, those that were not run as well.
        markdown (bool): Whether to write Markdown. Defaults to False: columns
            are aligned for a console.

    Returns:
        str: The table.
    """
    rows: list[tuple[str, ...]] = []
    width = None if markdown else WIDTH
    for name in names:
        entry = report['stages'].get(name)
        if entry is None:
            rows.append((name, 'not run', '', '', ''))
            continue
        rows += [(name, *_row(result, width)) for result in entry['results']]
        if entry['state'] != 'done':
            text = entry.get('error', entry['state'])
            rows.append((name, text, '', '', 'FAILED'))
        if 'seconds' in entry:
            rows.append((name, 'the stage', f'{entry["seconds"]} s', '', ''))
    if markdown:
        return markdown_table(HEADER, rows)
    return console_table(HEADER, rows, left=2)


def _row(
    result: dict[str, Any], width: int | None
) -> tuple[str, str, str, str]:
    value = result.get('error', result['value'])
    if isinstance(value, float):
        value = f'{value:.4g}'
    text = f'{value} {result["unit"]}'.strip()
    mark = MARKS.get((result['kind'], result.get('passed', True)), '')
    if width is not None and len(text) > width:
        text = f'{text[: width - 4]} ...'
    return result['name'], text, result.get('bound', ''), mark
