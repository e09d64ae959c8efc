"""The report of an audit: a table for the console and a JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fx_mm.audit.findings import LEVELS, Finding, sort_findings
from fx_mm.tasks import SPLITS
from fx_mm.utils.files import write_whole

SCHEMA = 1
"""Raised when keys of the JSON file change their meaning or vanish."""
STYLES = dict(leak='bold red', error='red', warning='yellow', note='dim')


def report(
    config: str,
    quick: bool,
    tables: dict[Any, Any],
    findings: Sequence[Finding],
    idle: Sequence[str] = (),
    scanned: dict[Any, Any] | None = None,
) -> dict[Any, Any]:
    """Put together what the JSON file says; see :mod:`fx_mm.audit`.

    Args:
        config (str): The config's path.
        quick (bool): Whether no image was read.
        tables (dict): Task to split to :func:`~.labels.label_table`.
        findings (Sequence[Finding]): What was found.
        idle (Sequence[str]): Entries of ``--allow`` that allow nothing.
        scanned (dict, optional): Numbers of images and masks read.
    """
    findings = sort_findings(findings)
    return dict(
        schema=SCHEMA,
        config=config,
        quick=quick,
        ok=not any(finding.fails for finding in findings),
        counts={
            level: sum(f.level == level and not f.allowed for f in findings)
            for level in LEVELS
        },
        allowed=[f.name for f in findings if f.allowed],
        unused_allow=list(idle),
        scanned=dict(scanned or {}),
        tasks=tables,
        findings=[finding.to_dict() for finding in findings],
    )


def save_report(content: dict[Any, Any], out_file: Path) -> Path:
    """Write the JSON file."""
    return write_whole(out_file, json.dumps(content, indent=1) + '\n')


def print_report(
    content: dict[Any, Any], console: Console | None = None
) -> None:
    """Print the splits and the findings."""
    console = console or Console()
    parts = [_splits(content['tasks'])] if content['tasks'] else []
    if content['findings']:
        parts.append(_findings(content['findings']))
    console.print(Group(*parts))
    for entry in content['unused_allow']:
        console.print(f'allowed, but not found: {entry}', style='dim')
    counts = ', '.join(
        f'{n} {level}s' for level, n in content['counts'].items()
    )
    allowed = len(content['allowed'])
    verdict = 'passes' if content['ok'] else 'FAILS'
    console.print(
        f'The audit {verdict}: {counts}; {allowed} allowed.',
        style='bold green' if content['ok'] else 'bold red',
    )


def _splits(tasks: dict[Any, Any]) -> Table:
    table = Table(
        title='Images (patients) of each split', title_justify='left'
    )
    table.add_column('task')
    table.add_column('classes', justify='right')
    for split in SPLITS:
        table.add_column(split, justify='right')
    table.add_column('classes without positives in train', overflow='fold')
    for task, splits in tasks.items():
        cells = []
        for split in SPLITS:
            entry = splits.get(split)
            if entry is None:
                cells.append('-')
                continue
            known = entry['patients']
            people = '' if known is None else f' ({known:,})'
            cells.append(f'{entry["images"]:,}{people}')
        classes = next(iter(splits.values()))['classes']
        train = splits.get('train', {}).get('classes', {})
        empty = [name for name, c in train.items() if not c['positive']]
        table.add_row(task, str(len(classes)), *cells, ', '.join(empty))
    return table


def _findings(findings: list[Any]) -> Table:
    table = Table(title='Findings', title_justify='left', leading=1)
    table.add_column('level')
    table.add_column('name (for --allow) and what it is', overflow='fold')
    for finding in findings:
        level = 'allowed' if finding['allowed'] else finding['level']
        style = STYLES.get(level, 'dim')
        lines = [finding['name'], finding['message']]
        for example in finding['examples'][:2]:
            text = example if isinstance(example, str) else ' | '.join(example)
            # a finding about one split says its reason in the message
            if text not in finding['message']:
                lines.append(f'e.g. {text}')
        # plain text: names may hold brackets
        table.add_row(Text(level, style), Text('\n'.join(lines)))
    return table
