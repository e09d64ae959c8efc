"""results.json, results.csv and results.md: what a test found.

docs/evaluation.md describes the schema.
"""

import csv
import json
import logging
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Any

from fx_mm.evaluation.report import published
from fx_mm.evaluation.report.benchmark_table import BenchmarkTable
from fx_mm.evaluation.statistics.bootstrap import LEVEL
from fx_mm.utils.checkpoint import local_path
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import hash_file, write_whole
from fx_mm.utils.log import log
from fx_mm.utils.text_table import markdown_table
from fx_mm.version import __version__

SCHEMA_VERSION = 2
SHA256 = '[0-9a-f]{64}'
# The maintained forks and the originals share the package's name only.
DISTRIBUTIONS = dict(
    torch=('torch',),
    numpy=('numpy',),
    mmengine=('onedl-mmengine', 'mmengine'),
    mmcv=('onedl-mmcv', 'mmcv'),
    mmdet=('onedl-mmdetection', 'mmdet'),
    mmseg=('onedl-mmsegmentation', 'mmsegmentation'),
)
DELONG = (
    f'Normal {LEVEL:.0%} intervals and tests by DeLong, with known patients '
    'by Obuchowski; n/a where the variance is 0 or has too few images, as '
    'for an AUC of 1. The p-values are of each row alone.'
)
BESIDE = (
    'In percent, as in the papers; all other numbers here are fractions. '
    'Dice counts an image without the class and without a prediction of it '
    'as 1. The published values are the best epoch of a run, chosen on the '
    'evaluated images, and splits may differ: compare with care.'
)


def save_results(table: BenchmarkTable, folder: str | Path) -> list[Path]:
    """Write results.json, results.csv and results.md.

    Each file appears whole or not at all.

    Args:
        table (BenchmarkTable): The results.
        folder (str | Path): Where to; made if it does not exist.

    Returns:
        list[Path]: The files.
    """
    contents = {
        'results.json': to_json(table),
        'results.csv': to_csv(table),
        'results.md': to_markdown(table),
    }
    return [
        write_whole(Path(folder) / name, content)
        for name, content in contents.items()
    ]


def read_results(file: str | Path) -> dict[str, Any]:
    """Read a results.json.

    Args:
        file (str | Path): The file.

    Returns:
        dict: Its content, with ``predict_on``, its ``metrics`` and
        ``tasks``.

    Raises:
        UserError: If it cannot be read, or has another schema.
    """
    try:
        content = json.loads(Path(file).read_text(encoding='utf-8'))
        schema = content['schema_version']
        if schema == SCHEMA_VERSION:
            content['metrics'][content['predict_on']], content['tasks']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{file} is not a results.json of a test ({error}); remove it '
            'and run the test again.'
        ) from error
    if schema != SCHEMA_VERSION:
        raise UserError(
            f'{file} has schema version {schema}, this fx_mm reads '
            f'{SCHEMA_VERSION}; run the test again with this version.'
        )
    return content


def check_checkpoint(
    content: Mapping[str, Any], file: str | Path, checkpoint: str, fix: str
) -> None:
    """Refuse results of another checkpoint.

    Results that hold no hash, of an older version, are held against the
    name of the file alone, with a warning.

    Args:
        content (Mapping): Result of :func:`read_results`.
        file (str | Path): Where it was read, for messages.
        checkpoint (str): Path or URL of the checkpoint.
        fix (str): What to do, for the message.

    Raises:
        UserError: If they are of another one, or hold no valid hash.
    """
    name = Path(checkpoint).name
    own = content.get('checkpoint') or 'an unnamed file'
    wanted = str(content.get('checkpoint_sha256') or '').lower()
    if wanted and not re.fullmatch(SHA256, wanted):
        raise UserError(
            f'{file}: its checkpoint_sha256 is not 64 digits in hex; {fix}.'
        )
    try:
        found = hash_file(local_path(checkpoint)) if wanted else None
    except OSError:
        found = None
    if found is None and own != name:
        raise UserError(
            f'{file}: is of {own}, the checkpoint is {name}; {fix}.'
        )
    if found is None:
        log(
            f'{file}: taken for results of {name} by the name of the file '
            'alone; a new test writes the hash of the checkpoint into it.',
            logging.WARNING,
        )
    elif found != wanted:
        raise UserError(
            f'{file}: is of another checkpoint ({own}, SHA-256 '
            f'{wanted[:8]}...) than {name} ({found[:8]}...); {fix}.'
        )


def to_json(table: BenchmarkTable) -> str:
    """Return everything; what is undefined is null."""
    tasks = {
        task.name: dict(
            dataset=task.dataset,
            kind=task.kind.name,
            classes=list(task.classes),
            class_groups={
                group: list(names)
                for group, names in (
                    task.config.get('class_groups') or {}
                ).items()
            },
            n_images=table.n_images.get(task.name),
        )
        for task in table.tasks
    }
    content = dict(
        schema_version=SCHEMA_VERSION,
        config=table.config,
        checkpoint=table.checkpoint,
        checkpoint_sha256=table.sha256 or None,
        split=table.split,
        versions=_versions(),
        tasks=tasks,
        skipped=table.skipped,
        notes=table.notes,
        predict_on=table.first,
        metrics=_plain(table.values),
        bootstrap=table.bootstrap,
        intervals=_plain(table.intervals),
        normal_intervals=_plain(table.normal_intervals),
        compared_with=table.compared_with,
        correction=table.correction,
        differences=_plain(table.differences),
        normal_differences=_plain(table.normal_differences),
    )
    return json.dumps(content, indent=2, allow_nan=False) + '\n'


def to_csv(table: BenchmarkTable) -> str:
    """Return one line per metric; what is undefined is blank."""
    out = StringIO()
    writer = csv.writer(out, lineterminator='\n')
    header = ['predict_on', 'dataset', 'kind', 'metric', 'value']
    writer.writerow([*header, 'low', 'high'])
    for predict_on in table.predict_on:
        for task in table.tasks:
            values = table.values[predict_on].get(task.name, {})
            for metric, value in values.items():
                ends = table.interval(predict_on, task.name, metric)
                cells = [value, *ends]
                writer.writerow(
                    [predict_on, task.dataset, task.kind.name, metric]
                    + ['' if math.isnan(v) else repr(v) for v in cells]
                )
    return out.getvalue()


def to_markdown(table: BenchmarkTable) -> str:
    """Return the tables for people."""
    lines = [f'# {table.title}', '', 'Fractions, not percent.', '']
    lines += [markdown_table(*table.summary()), '']
    for task, reason in table.skipped.items():
        lines += [f'Not evaluated: {task}, {reason}', '']
    if table.intervals:
        lines += [
            f'## Headline metrics with {LEVEL:.0%} intervals',
            '',
            markdown_table(*table.headlines()),
            '',
            table.bootstrap_text,
            '',
        ]
    if table.differences:
        lines += [
            f'## Difference to {table.compared_with}',
            '',
            table.difference_text,
            '',
            markdown_table(*table.difference_rows()),
            '',
        ]
    normal = table.normal_rows()
    if normal[1]:
        lines += ['## AUC by DeLong', '', DELONG, '']
        lines += [markdown_table(*normal), '']
    blocks = published.beside(table)
    if blocks and table.split != 'test':
        lines += [
            "The papers' figures are of test images and these of the split "
            f'"{table.split}", so they do not stand side by side: run '
            'tools/test.py.',
            '',
        ]
    elif blocks:
        lines += ['## Beside the papers', '', BESIDE, '']
        for _, header, rows in blocks:
            lines += [markdown_table(header, rows), '']
        lines += [f'- {note}' for note in published.notes(table)]
        models = dict.fromkeys(m for _, header, _ in blocks for m in header)
        lines += [
            f'- {model}: {published.SOURCES[model]}.'
            for model in models
            if model in published.SOURCES
        ]
        lines += ['']
    lines += ['## Per class', '', markdown_table(*table.per_class()), '']
    if table.note_lines:
        lines += ['## Notes', '']
        lines += [*(f'- {note}' for note in table.note_lines), '']
    return '\n'.join(lines)


def _plain(values: Any) -> Any:
    """Turn nested values into what JSON has; not finite ones into null."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if hasattr(values, '_asdict'):
        return _plain(values._asdict())
    return values if math.isfinite(values) else None


def _versions() -> dict[str, str]:
    versions = dict(fx_mm=__version__)
    for package, distributions in DISTRIBUTIONS.items():
        for distribution in distributions:
            with suppress(PackageNotFoundError):
                versions.setdefault(package, version(distribution))
    return versions
