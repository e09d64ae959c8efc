"""The benchmark table: datasets as rows, the three kinds as columns."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from fx_mm.tasks import Task
from fx_mm.utils.files import write_whole
from fx_mm.version import __version__

from .base import mean_or_nan

SCHEMA_VERSION = 1
WEIGHTS = ('teacher', 'student')
# The maintained forks and the originals share the package's name only.
DISTRIBUTIONS = dict(
    torch=('torch',),
    numpy=('numpy',),
    mmengine=('onedl-mmengine', 'mmengine'),
    mmcv=('onedl-mmcv', 'mmcv'),
    mmdet=('onedl-mmdetection', 'mmdet'),
    mmseg=('onedl-mmsegmentation', 'mmsegmentation'),
)
NO_TASK = '-'
UNDEFINED = 'n/a'


class Column(NamedTuple):
    """A headline metric of the table.

    Attributes:
        title (str): What stands above it.
        kind (str): Task kind.
        metric (str): Key of the task's metric.
    """

    title: str
    kind: str
    metric: str


COLUMNS = (
    Column('Cls AUC', 'cls', 'AUC'),
    Column('Loc mAP40', 'loc', 'mAP_40'),
    Column('Seg Dice, present', 'seg', 'Dice_pos'),
    Column('Seg Dice, empty=1', 'seg', 'Dice'),
)
CLASS_METRICS = dict(cls='AUC', loc='AP_40', seg='Dice_pos')


class BenchmarkTable:
    """Results of all tasks, as the paper's Table 2 lays them out.

    One row a dataset; columns are mean AUC, AP at IoU 0.40, Dice over the
    images that have the class, and Dice counting empty and empty as 1, each
    for teacher and student as far as they were evaluated. A second block
    lists every class. Values are fractions, not percent.

    Args:
        tasks (Sequence[Task]): The evaluated tasks.
        metrics (Mapping[str, float]): ``phantom_b/loc/mAP_40`` to value;
            the weights that are not ``weights`` carry their name in front:
            ``student/phantom_b/loc/mAP_40``.
        weights (str): Whose values carry no name in front, ``teacher`` or
            ``student``. Defaults to ``teacher``.
        config (str): Name of the config. Defaults to ''.
        checkpoint (str): Name of the checkpoint. Defaults to ''.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        metrics: Mapping[str, float],
        weights: str = 'teacher',
        config: str = '',
        checkpoint: str = '',
    ) -> None:
        self.tasks = list(tasks)
        self.config = config
        self.checkpoint = checkpoint
        self.values: dict[str, dict[str, dict[str, float]]] = {}
        names = {task.name for task in self.tasks}
        for key, value in metrics.items():
            owner, rest = weights, key
            head, _, tail = key.partition('/')
            if head in WEIGHTS and _task_of(tail) in names:
                owner, rest = head, tail
            task = _task_of(rest)
            if task in names:
                metric = rest[len(task) + 1 :]
                of_task = self.values.setdefault(owner, {})
                of_task.setdefault(task, {})[metric] = float(value)

    @property
    def weights(self) -> list[str]:
        """list[str]: The evaluated weights, teacher first."""
        return [name for name in WEIGHTS if name in self.values]

    def value(self, weights: str, task: str, metric: str) -> float:
        """Look up one value.

        Args:
            weights (str): ``teacher`` or ``student``.
            task (str): Task name.
            metric (str): Metric key, such as ``AUC/nodule``.

        Returns:
            float: The value; NaN where it is undefined or missing.
        """
        of_task = self.values.get(weights, {}).get(task, {})
        return of_task.get(metric, math.nan)

    def summary(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the block with one row a dataset.

        Returns:
            tuple: Column titles and rows of cells.
        """
        names = {task.name for task in self.tasks}
        kinds = {task.kind for task in self.tasks}
        columns = [
            (column, weights)
            for column in COLUMNS
            if column.kind in kinds
            for weights in self.weights
        ]
        header = ['dataset'] + [f'{c.title}, {w}' for c, w in columns]
        datasets = list(dict.fromkeys(task.dataset for task in self.tasks))
        rows = []
        for dataset in datasets:
            row = [dataset]
            for column, weights in columns:
                task = f'{dataset}/{column.kind}'
                row.append(
                    _cell(self.value(weights, task, column.metric))
                    if task in names
                    else NO_TASK
                )
            rows.append(row)
        if len(datasets) > 1:
            means = [
                mean_or_nan(
                    self.value(weights, task.name, column.metric)
                    for task in self.tasks
                    if task.kind == column.kind
                )
                for column, weights in columns
            ]
            rows.append(['mean'] + [_cell(value) for value in means])
        return header, rows

    def per_class(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the block with one row a class.

        Groups of classes follow the classes of their task.

        Returns:
            tuple: Column titles and rows of cells.
        """
        header = ['task', 'class', 'metric', *self.weights]
        rows = []
        for task in self.tasks:
            metric = CLASS_METRICS[task.kind]
            groups = task.config.get('class_groups') or {}
            for name in [*task.classes, *groups]:
                label = name if name in task.classes else f'({name})'
                values = [
                    _cell(self.value(w, task.name, f'{metric}/{name}'))
                    for w in self.weights
                ]
                rows.append([task.name, label, metric, *values])
        return header, rows

    def text(self) -> str:
        """Write both blocks for a console.

        Returns:
            str: Aligned text.
        """
        notes = (
            f'{NO_TASK}: the dataset has no such task; {UNDEFINED}: '
            'undefined, e.g. no image has the class; present: mean over '
            'the images that have the class.'
        )
        summary, per_class = self.summary(), self.per_class()
        return '\n'.join([_aligned(*summary), notes, '', _aligned(*per_class)])

    def save(self, folder: str | Path) -> list[Path]:
        """Write results.json, results.csv and results.md.

        Each file appears whole or not at all.

        Args:
            folder (str | Path): Where to; made if it does not exist.

        Returns:
            list[Path]: The files.
        """
        contents = {
            'results.json': self._json(),
            'results.csv': self._csv(),
            'results.md': self._markdown(),
        }
        return [
            write_whole(Path(folder) / name, content)
            for name, content in contents.items()
        ]

    def _json(self) -> str:
        metrics = {
            weights: {
                task: {key: _or_none(value) for key, value in values.items()}
                for task, values in tasks.items()
            }
            for weights, tasks in self.values.items()
        }
        tasks = {
            task.name: dict(
                dataset=task.dataset,
                kind=task.kind,
                classes=list(task.classes),
                class_groups={
                    group: list(names)
                    for group, names in (
                        task.config.get('class_groups') or {}
                    ).items()
                },
            )
            for task in self.tasks
        }
        content = dict(
            schema_version=SCHEMA_VERSION,
            config=self.config,
            checkpoint=self.checkpoint,
            versions=_versions(),
            tasks=tasks,
            metrics=metrics,
        )
        return json.dumps(content, indent=2, allow_nan=False) + '\n'

    def _csv(self) -> str:
        out = StringIO()
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(['weights', 'dataset', 'kind', 'metric', 'value'])
        for weights in self.weights:
            for task in self.tasks:
                values = self.values[weights].get(task.name, {})
                for metric, value in values.items():
                    writer.writerow(
                        [
                            weights,
                            task.dataset,
                            task.kind,
                            metric,
                            '' if math.isnan(value) else repr(value),
                        ]
                    )
        return out.getvalue()

    def _markdown(self) -> str:
        title = self.config or 'Results'
        lines = [f'# {title}', '']
        if self.checkpoint:
            lines += [f'Checkpoint: `{self.checkpoint}`', '']
        lines += [_pipes(*self.summary()), '', '## Per class', '']
        lines += [_pipes(*self.per_class()), '']
        return '\n'.join(lines)


def _task_of(key: str) -> str:
    return '/'.join(key.split('/')[:2])


def _cell(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f'{value:.3f}'


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _aligned(header: list[str], rows: list[list[str]]) -> str:
    """Align columns; a title stands on several lines, split at commas."""
    heads = [title.split(', ') for title in header]
    height = max(map(len, heads))
    padded = [[''] * (height - len(head)) + head for head in heads]
    lines = [*map(list, zip(*padded, strict=True)), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    n_left = sum(title in ('dataset', 'task', 'class') for title in header)
    text = []
    for line in lines:
        cells = [
            cell.ljust(width) if i < n_left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append('  '.join(cells).rstrip())
    rule = '-' * max(map(len, text))
    text.insert(len(text) - len(rows), rule)
    return '\n'.join(text)


def _pipes(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(
        '| ' + ' | '.join(c.replace('|', r'\|') for c in line) + ' |'
        for line in lines
    )


def _versions() -> dict[str, str]:
    versions = dict(fx_mm=__version__)
    for package, distributions in DISTRIBUTIONS.items():
        for distribution in distributions:
            with suppress(PackageNotFoundError):
                versions.setdefault(package, version(distribution))
    return versions
