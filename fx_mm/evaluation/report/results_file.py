"""results.json, results.csv and results.md: what a test found.

docs/evaluation.md describes the schema.
"""

import csv
import json
import math
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path

from fx_mm.evaluation.report import published
from fx_mm.evaluation.report.table import BenchmarkTable, pipes
from fx_mm.evaluation.statistics.bootstrap import LEVEL
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.version import __version__

SCHEMA_VERSION = 2
"""2 added split, n_images, intervals, differences, notes and skipped."""
# The maintained forks and the originals share the package's name only.
DISTRIBUTIONS = dict(
    torch=('torch',),
    numpy=('numpy',),
    mmengine=('onedl-mmengine', 'mmengine'),
    mmcv=('onedl-mmcv', 'mmcv'),
    mmdet=('onedl-mmdetection', 'mmdet'),
    mmseg=('onedl-mmsegmentation', 'mmsegmentation'),
)
BESIDE = (
    'In percent, as the papers print; all other numbers here are fractions. '
    'Dice counts an image without the class and without a prediction of it '
    'as 1. The published values are the best of a run, chosen on the very '
    'images they are of, and splits may differ: they are a landmark, not a '
    'contest.'
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


def read_results(file: str | Path) -> dict:
    """Read a results.json, of this or an earlier schema.

    Args:
        file (str | Path): The file.

    Returns:
        dict: Its content; ``metrics`` and ``tasks`` are there in all
        versions.

    Raises:
        UserError: If it cannot be read, or is of a later fx_mm.
    """
    try:
        content = json.loads(Path(file).read_text(encoding='utf-8'))
        content['metrics'], content['tasks']
        schema = int(content.get('schema_version', 1))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{file} is no results.json of a test ({error}); remove it and '
            'run the test again.'
        ) from error
    if schema > SCHEMA_VERSION:
        raise UserError(
            f'{file} has schema version {schema}, this fx_mm reads up to '
            f'{SCHEMA_VERSION}; update it.'
        )
    return content


def to_json(table: BenchmarkTable) -> str:
    """Give everything; what is undefined is null."""
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
        split=table.split,
        versions=_versions(),
        tasks=tasks,
        skipped=table.skipped,
        notes=table.notes,
        metrics=_plain(table.values),
        bootstrap=table.bootstrap,
        intervals=_plain(table.intervals),
        compared_with=table.compared_with,
        differences=_plain(table.differences),
    )
    return json.dumps(content, indent=2, allow_nan=False) + '\n'


def to_csv(table: BenchmarkTable) -> str:
    """Give one line a metric; what is undefined is blank."""
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
    """Give the tables for people."""
    lines = [f'# {table.config or "Results"}', '']
    if table.checkpoint:
        lines += [f'Checkpoint: `{table.checkpoint}`', '']
    lines += [f'Split: {table.split}. Fractions, not percent.', '']
    lines += [pipes(*table.summary()), '']
    for task, reason in table.skipped.items():
        lines += [f'Not evaluated: {task}, {reason}', '']
    if table.intervals:
        lines += [
            f'## Headline metrics with {LEVEL:.0%} intervals',
            '',
            pipes(*table.headlines()),
            '',
            table.bootstrap_text,
            '',
        ]
    if table.differences:
        lines += [
            f'## Difference to {table.compared_with}',
            '',
            'Ours minus theirs on the same resamples of the same images, '
            f'{LEVEL:.0%} interval; bold where it excludes 0.',
            '',
            pipes(*table.difference_rows()),
            '',
        ]
    blocks = published.beside(table)
    if blocks:
        lines += ['## Beside the papers', '', BESIDE, '']
        for _, header, rows in blocks:
            lines += [pipes(header, rows), '']
        lines += [f'- {note}' for note in published.notes(table)]
        models = dict.fromkeys(m for _, header, _ in blocks for m in header)
        lines += [
            f'- {model}: {published.SOURCES[model]}.'
            for model in models
            if model in published.SOURCES
        ]
        lines += ['']
    lines += ['## Per class', '', pipes(*table.per_class()), '']
    notes = [
        f'- {task}: {note}'
        for task, of_task in table.notes.items()
        for note in of_task
    ]
    if notes:
        lines += ['## Notes', '', *notes, '']
    return '\n'.join(lines)


def _plain(values):
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
