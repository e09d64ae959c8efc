"""The benchmark table: datasets as rows, task kinds as columns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fx_mm.evaluation.statistics.bootstrap import (
    LEVEL,
    Interval,
    PairedInterval,
)
from fx_mm.evaluation.statistics.multiplicity import NAMES
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.tasks import Task, all_kinds, task_of
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.utils.text_table import console_table

NO_TASK = '-'
UNDEFINED = 'n/a'
NOWHERE = Interval(math.nan, math.nan)

TableCells = tuple[list[str], list[list[str]]]
"""Column titles and rows of cells."""


class BenchmarkTable:
    """Results of all tasks, as the paper's Table 2 lays them out.

    One row per dataset; columns are the headline metrics of each kind, such
    as mean AUC, AP at IoU 0.40 and Dice, for teacher and student as far as
    they were evaluated. A second block lists every class. Values are
    fractions, not percent.

    Args:
        tasks (Sequence[Task]): The evaluated tasks.
        metrics (Mapping[str, float]): ``phantom_b/loc/mAP_40`` to value;
            those of the model that is not ``predict_on`` have its name in
            front: ``student/phantom_b/loc/mAP_40``.
        predict_on (str): Which model predicts, ``teacher`` or ``student``:
            that whose values have no name in front. Defaults to the first of
            ``PREDICTORS``.
        config (str): Name of the config. Defaults to ''.
        checkpoint (str): Name of the checkpoint. Defaults to ''.
        split (str): Split that was evaluated. Defaults to ``test``.
        sha256 (str): Hash of the checkpoint. Defaults to '': not known.

    Attributes:
        first (str): Which model predicts.
        values (dict): ``teacher`` or ``student`` to task to metric to value.
        n_images (dict[str, int]): Task to number of its images.
        skipped (dict[str, str]): Task to why it was not evaluated.
        notes (dict[str, list[str]]): Task to what a reader must know to
            read its numbers.
        bootstrap (dict, optional): ``level``, ``method``, ``resamples``,
            ``seed`` and ``units`` (task to ``patients`` or ``images``).
        intervals (dict): As ``values``, of :class:`.bootstrap.Interval`.
        normal_intervals (dict): Likewise, by a formula (DeLong's of AUCs).
        compared_with (str): Name of the other model.
        differences (dict): As ``values``, of
            :class:`.bootstrap.PairedInterval`.
        normal_differences (dict): Likewise, by a formula.
        correction (str): How p-values that are read together were adjusted,
            ``holm`` or ``bh``; empty without differences.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        metrics: Mapping[str, float],
        predict_on: str = PREDICTORS[0],
        config: str = '',
        checkpoint: str = '',
        split: str = 'test',
        sha256: str = '',
    ) -> None:
        self.tasks = list(tasks)
        self.first = predict_on
        self.config = config
        self.checkpoint = checkpoint
        self.sha256 = sha256
        self.split = split
        self.n_images: dict[str, int] = {}
        self.skipped: dict[str, str] = {}
        self.notes: dict[str, list[str]] = {}
        self.bootstrap: dict[str, Any] | None = None
        self.intervals: dict[str, dict[str, dict[str, Interval]]] = {}
        self.normal_intervals: dict[str, dict[str, dict[str, Interval]]] = {}
        self.compared_with = ''
        self.differences: dict[str, dict[str, dict[str, PairedInterval]]] = {}
        self.normal_differences: dict[
            str, dict[str, dict[str, PairedInterval]]
        ] = {}
        self.correction = ''
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
        return of_task.get(metric, NOWHERE)

    @property
    def bootstrap_text(self) -> str:
        """str: How the intervals were made; empty without any."""
        if self.bootstrap is None:
            return ''
        by_unit: dict[str, list[str]] = {}
        for task, unit in self.bootstrap['units'].items():
            by_unit.setdefault(unit, []).append(task)
        units = '; '.join(
            unit if len(by_unit) == 1 else f'{unit} of {", ".join(tasks)}'
            for unit, tasks in by_unit.items()
        )
        method = self.bootstrap['method']
        return (
            f'{method[0].upper()}{method[1:]} bootstrap, '
            f'{self.bootstrap["resamples"]} resamples, '
            f'seed {self.bootstrap["seed"]}; drawn are {units}.'
        )

    @property
    def difference_text(self) -> str:
        """str: What the differences are; empty without any."""
        if self.bootstrap is None or not self.correction:
            return ''
        text = (
            'Ours minus theirs on the same resamples of the same images, '
            f'{LEVEL:.0%} interval; p of no difference, and the same for all '
            f'rows of the column together ({NAMES[self.correction]}); bold '
            f'where this is below {1 - LEVEL:.2f}.'
        )
        rows = sum(len(task.kind.columns) for task in self.tasks)
        needed = math.ceil(2 * rows / (1 - LEVEL))
        if self.correction == 'holm' and self.bootstrap['resamples'] < needed:
            text += (
                f' With {rows} rows and so few resamples none can be: take '
                f'at least {needed} (--intervals {needed}).'
            )
        return text

    def headlines(self) -> TableCells:
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

    def difference_rows(self) -> TableCells:
        """Lay out the differences of the headline metrics.

        Returns:
            tuple: Column titles and rows of cells.
        """
        header = ['task', 'metric']
        for predict_on in self.differences:
            header += [predict_on, 'p', 'p, all rows']
        rows = []
        for task in self.tasks:
            for column in task.kind.columns:
                row = [task.name, column.metric]
                for of_model in self.differences.values():
                    found = of_model.get(task.name, {}).get(column.metric)
                    row += difference_cells(found)
                rows.append(row)
        return header, rows

    def normal_rows(self) -> TableCells:
        """Lay out the intervals and differences by a formula.

        Returns:
            tuple: Column titles and rows of cells.
        """
        header = ['task', 'metric']
        for predict_on in self.normal_intervals:
            header.append(predict_on)
            if predict_on in self.normal_differences:
                header += [f'{predict_on}, difference', 'p']
        rows = []
        for task in self.tasks:
            keys = {
                key: None
                for of_model in self.normal_intervals.values()
                for key in of_model.get(task.name, {})
            }
            for key in keys:
                row = [task.name, key]
                for predict_on, of_model in self.normal_intervals.items():
                    ends = of_model.get(task.name, {}).get(key, NOWHERE)
                    value = self.value(predict_on, task.name, key)
                    row.append(_with_ends(_cell(value), ends))
                    if predict_on in self.normal_differences:
                        of_task = self.normal_differences[predict_on]
                        found = of_task.get(task.name, {}).get(key)
                        row += difference_cells(found)[:2]
                rows.append(row)
        return header, rows

    def summary(self) -> TableCells:
        """Lay out the block with one row per dataset.

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
                nan_mean(
                    [
                        self.value(predict_on, task.name, column.metric)
                        for task in self.tasks
                        if task.kind is kind
                    ]
                )
                for kind, column, predict_on in columns
            ]
            rows.append(
                ['mean']
                + [
                    _cell(value) if column.averaged else NO_TASK
                    for (_, column, _), value in zip(columns, means)
                ]
            )
        return header, rows

    def per_class(self) -> TableCells:
        """Lay out the block with one row per class.

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

    @property
    def title(self) -> str:
        """str: What was evaluated, on which split."""
        title = f'Results on the {self.split} split'
        names = ', '.join(filter(None, (self.config, self.checkpoint)))
        return f'{title} ({names})' if names else title

    @property
    def note_lines(self) -> list[str]:
        """list[str]: The notes; one that holds for several tasks once."""
        tasks_of: dict[str, list[str]] = {}
        for task, notes in self.notes.items():
            for note in notes:
                tasks_of.setdefault(note, []).append(task)
        return [
            f'{self._owners(tasks)}: {note}'
            for note, tasks in tasks_of.items()
        ]

    def _owners(self, tasks: list[str]) -> str:
        for kind in dict.fromkeys(task.kind for task in self.tasks):
            of_kind = [task.name for task in self.tasks if task.kind is kind]
            if len(tasks) > 1 and set(tasks) == set(of_kind):
                return f'all {kind.name} tasks'
        return ', '.join(tasks)

    def text(self) -> str:
        """Write everything for a console.

        Returns:
            str: Aligned text.
        """
        legend = (
            f'{NO_TASK}: the dataset has no such task; {UNDEFINED}: '
            'undefined, e.g. no image has the class; present: mean over '
            'the images that have the class.'
        )
        lines = [self.title, '', console_table(*self.summary()), legend]
        for task, reason in self.skipped.items():
            lines.append(f'not evaluated: {task}, {reason}')
        lines += ['', console_table(*self.per_class(), left=2)]
        if self.intervals:
            lines += ['', console_table(*self.headlines())]
            lines += [self.bootstrap_text]
        if self.differences:
            lines += ['', f'difference to {self.compared_with}:']
            lines += [console_table(*self.difference_rows())]
            lines += [self.difference_text]
        if self.note_lines:
            lines += ['', *self.note_lines]
        return '\n'.join(lines)


def difference_cells(found: PairedInterval | None) -> list[str]:
    """Write a difference with its interval, p and adjusted p.

    It is bold where the adjusted p is below 1 less the level.
    """
    if found is None or math.isnan(found.difference):
        return [UNDEFINED] * 3
    text = _with_ends(
        f'{found.difference:+.3f}', Interval(found.low, found.high), '+.3f'
    )
    if found.p_adjusted < 1 - LEVEL:
        text = f'**{text}**'
    return [text, _cell(found.p), _cell(found.p_adjusted)]


def _cell(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f'{value:.3f}'


def _with_ends(text: str, ends: Interval, form: str = '.3f') -> str:
    if math.isnan(ends.low):
        return text
    return f'{text} [{ends.low:{form}}, {ends.high:{form}}]'
