"""The report of an audit: a table for the console and a JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fx_mm.audit.findings import LEVELS, Finding, sort_findings
from fx_mm.audit.scan import Scan
from fx_mm.tasks import SPLITS
from fx_mm.utils.files import write_whole

SCHEMA = 2
"""Raised when keys of the JSON file change their meaning or vanish."""
STYLES = dict(leak='bold red', error='red', warning='yellow', note='dim')


def report(
    config: str,
    quick: bool,
    tables: dict[Any, Any],
    findings: Sequence[Finding],
    idle: Sequence[str] = (),
    idle_levels: Sequence[str] = (),
    images: Scan | None = None,
    masks: Scan | None = None,
) -> dict[Any, Any]:
    """Put together what the JSON file says; see :mod:`fx_mm.audit`.

    Args:
        config (str): The config's path.
        quick (bool): Whether no image was read.
        tables (dict): Task to split to :func:`~.labels.label_table`.
        findings (Sequence[Finding]): What was found.
        idle (Sequence[str]): Entries of ``--allow`` that allow nothing.
        idle_levels (Sequence[str]): Entries of ``audit.levels`` that fit
            nothing.
        images (Scan, optional): Of all images, if they were read.
        masks (Scan, optional): Likewise.
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
        unused_levels=list(idle_levels),
        scanned={
            key: len(scan)
            for key, scan in (('images', images), ('masks', masks))
            if scan is not None
        },
        tasks=tables,
        findings=[finding.to_dict() for finding in findings],
        images=dict(zip(images.paths, images.readings())) if images else {},
        masks=[
            dict(file=file, classes=list(code.classes), **reading)
            for (file, code), reading in zip(masks.paths, masks.readings())
        ]
        if masks
        else [],
    )


def save_report(content: dict[Any, Any], out_file: Path) -> Path:
    """Write the JSON file, one line per image and mask."""
    long = ('images', 'masks')
    head = {key: part for key, part in content.items() if key not in long}
    images = ',\n'.join(
        f'  {json.dumps(path)}: {json.dumps(reading)}'
        for path, reading in content['images'].items()
    )
    masks = ',\n'.join(f'  {json.dumps(each)}' for each in content['masks'])
    text = json.dumps(head, indent=1).removesuffix('\n}')
    text += f',\n "images": {{\n{images}\n }},\n "masks": [\n{masks}\n ]\n}}\n'
    return write_whole(out_file, text)


def print_report(
    content: dict[Any, Any], console: Console | None = None
) -> None:
    """Print the splits and the findings."""
    console = console or Console()
    parts = [_splits(content['tasks'])] if content['tasks'] else []
    if content['findings']:
        parts.append(_findings(content['findings']))
    console.print(Group(*parts))
    for key, text in (('allow', 'allowed'), ('levels', 'given a level')):
        for entry in content[f'unused_{key}']:
            console.print(f'{text}, but not found: {entry}', style='dim')
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
