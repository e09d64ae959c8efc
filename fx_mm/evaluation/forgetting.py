"""Scores of all tasks after each pass: what a task loses in others' passes."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.tasks import find_kind, split_name
from fx_mm.utils.files import write_whole

VERSION = 1
DEFINITIONS = dict(
    row='a validation, after the pass that it names',
    visit='consecutive rows after passes of one task',
    focused='score of a task in the last row of its visit',
    unfocused='scores of a task in the rows between its visits and after the '
    'last; rows before its first visit do not count',
    forgotten='focused minus the last score before the next visit (or the '
    'end), mean over the visits that are followed by another row',
)


class Row(NamedTuple):
    """A validation.

    Attributes:
        number (int): Passes that were over.
        cycle (int): Cycle of the last of them, from 1.
        task (str): Its task.
        mode (str): Its lock state.
        scores (dict): ``teacher``, ``student`` to task to score, NaN where
            undefined.
    """

    number: int
    cycle: int
    task: str
    mode: str
    scores: dict[str, dict[str, float]]


class Summary(NamedTuple):
    """What :data:`DEFINITIONS` say of one task, NaN where undefined."""

    focused: float
    best_focused: float
    unfocused: float
    best_unfocused: float
    forgotten: float
    visits: int


class ScoreMatrix:
    """Rows: validations; columns: the headline metric of each task.

    Args:
        tasks (Sequence[str]): The columns.
        predict_on (Sequence[str]): Which models predicted: ``teacher``,
            ``student``.
    """

    def __init__(
        self, tasks: Sequence[str], predict_on: Sequence[str]
    ) -> None:
        self.tasks = list(tasks)
        self.predict_on = list(predict_on)
        self.rows: list[Row] = []

    def add(
        self,
        number: int,
        cycle: int,
        task: str,
        mode: str,
        metrics: Mapping[str, float],
    ) -> None:
        """Add a validation; one after the same pass is replaced.

        Args:
            number (int): Passes that are over.
            cycle (int): Cycle of the last pass, from 1.
            task (str): Task of the last pass.
            mode (str): Its lock state.
            metrics (Mapping[str, float]): As the validation loop returns
                them: those of the first of ``predict_on`` without prefix.
        """
        scores = {}
        for place, predict_on in enumerate(self.predict_on):
            prefix = f'{predict_on}/' if place else ''
            scores[predict_on] = {
                name: float(metrics.get(f'{prefix}{headline(name)}', math.nan))
                for name in self.tasks
            }
        self.rows = [row for row in self.rows if row.number < number]
        self.rows.append(Row(number, cycle, task, mode, scores))

    def column(self, task: str, predict_on: str) -> list[float]:
        """Return the scores of a task, one per row."""
        return [
            row.scores.get(predict_on, {}).get(task, math.nan)
            for row in self.rows
        ]

    def visits(self, task: str) -> list[int]:
        """Return the last row of each visit."""
        own = [row.task == task for row in self.rows]
        return [
            i
            for i, mine in enumerate(own)
            if mine and not (i + 1 < len(own) and own[i + 1])
        ]

    def between(self, task: str) -> list[list[int]]:
        """Return, for each visit, the rows up to the next one."""
        ends = self.visits(task)
        own = [i for i, row in enumerate(self.rows) if row.task == task]
        return [
            list(
                range(
                    end + 1,
                    next((i for i in own if i > end), len(self.rows)),
                )
            )
            for end in ends
        ]

    def summary(self, task: str, predict_on: str) -> Summary:
        """Return what a task has and loses, see :data:`DEFINITIONS`."""
        scores = self.column(task, predict_on)
        ends, between = self.visits(task), self.between(task)
        focused = [scores[i] for i in ends]
        unfocused = [scores[i] for rows in between for i in rows]
        lost = [
            scores[end] - scores[rows[-1]]
            for end, rows in zip(ends, between)
            if rows
        ]
        return Summary(
            float(nan_mean(focused)),
            _best(focused),
            float(nan_mean(unfocused)),
            _best(unfocused),
            float(nan_mean(lost)),
            len(ends),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; undefined values are None."""
        return dict(
            version=VERSION,
            definitions=DEFINITIONS,
            predict_on=self.predict_on,
            metrics={task: headline(task) for task in self.tasks},
            summary={
                predict_on: {
                    task: {
                        key: _finite(value)
                        for key, value in self.summary(task, predict_on)
                        ._asdict()
                        .items()
                    }
                    for task in self.tasks
                }
                for predict_on in self.predict_on
            },
            rows=[
                dict(
                    row._asdict(),
                    scores={
                        predict_on: {k: _finite(v) for k, v in scores.items()}
                        for predict_on, scores in row.scores.items()
                    },
                )
                for row in self.rows
            ],
        )

    def read_rows(self, file: str | Path, until: int) -> None:
        """Read the rows of an earlier file, as a resumed run does.

        Args:
            file (str | Path): As :meth:`save` writes it.
            until (int): Rows after more passes are skipped.

        Raises:
            ValueError: If the file is something else.
        """
        try:
            content = json.loads(Path(file).read_text(encoding='utf-8'))
            rows = [
                Row(
                    **dict(
                        row,
                        scores={
                            predict_on: {
                                k: math.nan if v is None else v
                                for k, v in scores.items()
                            }
                            for predict_on, scores in row['scores'].items()
                        },
                    )
                )
                for row in content['rows']
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{file}: {error}') from error
        self.rows = [row for row in rows if row.number <= until]

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``forgetting.json`` and ``forgetting.csv``."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + '\n'
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator='\n')
        writer.writerow(
            ['pass', 'cycle', 'task', 'mode', 'predict_on', *self.tasks]
        )
        for row in self.rows:
            for predict_on, scores in row.scores.items():
                cells = (scores.get(task, math.nan) for task in self.tasks)
                writer.writerow(
                    [
                        *(
                            row.number,
                            row.cycle,
                            row.task,
                            row.mode,
                            predict_on,
                        ),
                        *('' if math.isnan(x) else f'{x:.6f}' for x in cells),
                    ]
                )
        return [
            write_whole(Path(folder) / 'forgetting.json', text),
            write_whole(Path(folder) / 'forgetting.csv', stream.getvalue()),
        ]


def headline(task: str) -> str:
    """Return the key of a task's headline metric in the results."""
    return f'{task}/{find_kind(split_name(task)[1]).headline()}'


def _best(values: Sequence[float]) -> float:
    return max((v for v in values if not math.isnan(v)), default=math.nan)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
