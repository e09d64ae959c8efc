"""The benchmark table: datasets as rows, task kinds as columns."""

import math
from collections.abc import Mapping, Sequence

from fx_mm.evaluation.metrics.base import mean_or_nan
from fx_mm.evaluation.statistics.bootstrap import Interval
from fx_mm.tasks import Task, all_kinds, task_of
from fx_mm.utils.predictors import PREDICTORS

NO_TASK = '-'
UNDEFINED = 'n/a'


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
        predict_on (str): Whose values carry no name in front, ``teacher`` or
            ``student``. Defaults to ``teacher``.
        config (str): Name of the config. Defaults to ''.
        checkpoint (str): Name of the checkpoint. Defaults to ''.
        split (str): Split that was evaluated. Defaults to ``test``.

    Attributes:
        values (dict): Model to task to metric to value.
        n_images (dict[str, int]): Task to number of its images.
        skipped (dict[str, str]): Task to why it was not evaluated.
        notes (dict[str, list[str]]): Task to what its numbers need to be
            read rightly.
        bootstrap (dict, optional): ``level``, ``resamples``, ``seed`` and
            ``units`` (task to ``patients`` or ``images``).
        intervals (dict): As ``values``, of :class:`.bootstrap.Interval`.
        compared_with (str): Name of the other model.
        differences (dict): As ``values``, of
            :class:`.bootstrap.PairedInterval`.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        metrics: Mapping[str, float],
        predict_on: str = 'teacher',
        config: str = '',
        checkpoint: str = '',
        split: str = 'test',
    ) -> None:
        self.tasks = list(tasks)
        self.config = config
        self.checkpoint = checkpoint
        self.split = split
        self.n_images: dict[str, int] = {}
        self.skipped: dict[str, str] = {}
        self.notes: dict[str, list[str]] = {}
        self.bootstrap: dict | None = None
        self.intervals: dict = {}
        self.compared_with = ''
        self.differences: dict = {}
        self.values: dict[str, dict[str, dict[str, float]]] = {}
        names = {task.name for task in self.tasks}
        for key, value in metrics.items():
            owner, rest = predict_on, key
            head, _, tail = key.partition('/')
            if head in PREDICTORS and task_of(tail) in names:
                owner, rest = head, tail
            task = task_of(rest)
            if task in names:
                metric = rest[len(task) + 1 :]
                of_task = self.values.setdefault(owner, {})
                of_task.setdefault(task, {})[metric] = float(value)

    @property
    def predict_on(self) -> list[str]:
        """list[str]: The evaluated models, teacher first."""
        return [name for name in PREDICTORS if name in self.values]

    def value(self, predict_on: str, task: str, metric: str) -> float:
        """Look up one value.

        Args:
            predict_on (str): ``teacher`` or ``student``.
            task (str): Task name.
            metric (str): Metric key, such as ``AUC/nodule``.

        Returns:
            float: The value; NaN where it is undefined or missing.
        """
        of_task = self.values.get(predict_on, {}).get(task, {})
        return of_task.get(metric, math.nan)

    def interval(self, predict_on: str, task: str, metric: str) -> Interval:
        """Look up the interval of a value, NaN where there is none."""
        of_task = self.intervals.get(predict_on, {}).get(task, {})
        return of_task.get(metric, Interval(math.nan, math.nan))

    @property
    def bootstrap_text(self) -> str:
        """str: How the intervals were made."""
        by_unit: dict[str, list[str]] = {}
        for task, unit in self.bootstrap['units'].items():
            by_unit.setdefault(unit, []).append(task)
        units = '; '.join(
            unit if len(by_unit) == 1 else f'{unit} of {", ".join(tasks)}'
            for unit, tasks in by_unit.items()
        )
        return (
            f'Percentile bootstrap, {self.bootstrap["resamples"]} resamples, '
            f'seed {self.bootstrap["seed"]}; drawn are {units}.'
        )

    def headlines(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the headline metrics with their intervals.

        Returns:
            tuple: Column titles and rows of cells.
        """
        rows = []
        for task in self.tasks:
            for column in task.kind.columns:
                row = [task.name, column.metric]
                for predict_on in self.predict_on:
                    value = self.value(predict_on, task.name, column.metric)
                    ends = self.interval(predict_on, task.name, column.metric)
                    row.append(_with_ends(_cell(value), ends))
                rows.append(row)
        return ['task', 'metric', *self.predict_on], rows

    def difference_rows(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the differences of the headline metrics.

        Returns:
            tuple: Column titles and rows of cells.
        """
        columns = list(self.differences)
        rows = []
        for task in self.tasks:
            for column in task.kind.columns:
                cells = []
                for predict_on in columns:
                    of_task = self.differences[predict_on].get(task.name, {})
                    found = of_task.get(column.metric)
                    if found is None or math.isnan(found.difference):
                        cells.append(UNDEFINED)
                        continue
                    ends = Interval(found.low, found.high)
                    text = f'{found.difference:+.3f}'
                    text = _with_ends(text, ends, '+.3f')
                    if found.low > 0 or found.high < 0:
                        text = f'**{text}**'
                    cells.append(text)
                rows.append([task.name, column.metric, *cells])
        return ['task', 'metric', *columns], rows

    def summary(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the block with one row a dataset.

        Returns:
            tuple: Column titles and rows of cells.
        """
        names = {task.name for task in self.tasks}
        present = {task.kind for task in self.tasks}
        columns = [
            (kind, column, predict_on)
            for kind in all_kinds()
            if kind in present
            for column in kind.columns
            for predict_on in self.predict_on
        ]
        header = ['dataset'] + [f'{c.title}, {w}' for _, c, w in columns]
        datasets = list(dict.fromkeys(task.dataset for task in self.tasks))
        rows = []
        for dataset in datasets:
            row = [dataset]
            for kind, column, predict_on in columns:
                task = f'{dataset}/{kind.name}'
                row.append(
                    _cell(self.value(predict_on, task, column.metric))
                    if task in names
                    else NO_TASK
                )
            rows.append(row)
        if len(datasets) > 1:
            means = [
                mean_or_nan(
                    self.value(predict_on, task.name, column.metric)
                    for task in self.tasks
                    if task.kind is kind
                )
                for kind, column, predict_on in columns
            ]
            rows.append(['mean'] + [_cell(value) for value in means])
        return header, rows

    def per_class(self) -> tuple[list[str], list[list[str]]]:
        """Lay out the block with one row a class.

        Groups of classes follow the classes of their task.

        Returns:
            tuple: Column titles and rows of cells.
        """
        header = ['task', 'class', 'metric', *self.predict_on]
        rows = []
        for task in self.tasks:
            metric = task.kind.class_metric
            groups = task.config.get('class_groups') or {}
            for name in [*task.classes, *groups]:
                label = name if name in task.classes else f'({name})'
                values = [
                    _cell(self.value(w, task.name, f'{metric}/{name}'))
                    for w in self.predict_on
                ]
                rows.append([task.name, label, metric, *values])
        return header, rows

    def text(self) -> str:
        """Write both blocks for a console.

        Returns:
            str: Aligned text.
        """
        legend = (
            f'{NO_TASK}: the dataset has no such task; {UNDEFINED}: '
            'undefined, e.g. no image has the class; present: mean over '
            'the images that have the class.'
        )
        lines = [_aligned(*self.summary()), legend]
        for task, reason in self.skipped.items():
            lines.append(f'not evaluated: {task}, {reason}')
        lines += ['', _aligned(*self.per_class())]
        if self.intervals:
            lines += ['', _aligned(*self.headlines()), self.bootstrap_text]
        if self.differences:
            lines += ['', f'difference to {self.compared_with}:']
            lines += [_aligned(*self.difference_rows())]
        notes = [
            f'{task}: {note}'
            for task, of_task in self.notes.items()
            for note in of_task
        ]
        if notes:
            lines += ['', *notes]
        return '\n'.join(lines)


def _cell(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f'{value:.3f}'


def _with_ends(text: str, ends: Interval, form: str = '.3f') -> str:
    if math.isnan(ends.low):
        return text
    return f'{text} [{ends.low:{form}}, {ends.high:{form}}]'


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


def pipes(header: list[str], rows: list[list[str]]) -> str:
    """Lay out a table in Markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(
        '| ' + ' | '.join(c.replace('|', r'\|') for c in line) + ' |'
        for line in lines
    )
