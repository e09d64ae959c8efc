"""Scores of all tasks after each stage of a continual training."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fx_mm.evaluation.forgetting import headline
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table

FILE = 'continual.json'
VERSION = 1
DEFINITIONS = dict(
    scores='headline metric of a task, in the closing test of each stage',
    learned='score of a task at the end of the stage that it arrived in',
    final='score of a task at the end of the last stage',
    average='mean of final over all tasks',
    backward_transfer='final minus learned, mean over the tasks that arrived '
    'before the last stage (Lopez-Paz and Ranzato 2017); below 0: forgotten',
    forgetting='best score from learned on, the last stage left out, minus '
    'final, mean over the same tasks (Chaudhry et al. 2018)',
)


class TaskScores(NamedTuple):
    """What :data:`DEFINITIONS` say of one task, NaN where undefined."""

    learned: float
    final: float
    backward_transfer: float
    forgetting: float


class StageScores:
    """Rows: stages; columns: tasks.

    Args:
        stages (Sequence[Sequence[str]]): The new tasks of each stage.
        rows (Sequence[Mapping[str, float]]): Task to score, one per stage;
            those that were not evaluated are left out.
        predict_on (str): Which model predicted. Defaults to ''.
        split (str): Which images. Defaults to ''.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[str]],
        rows: Sequence[Mapping[str, float]],
        predict_on: str = '',
        split: str = '',
    ) -> None:
        self.stages = [list(stage) for stage in stages]
        self.tasks = [task for stage in self.stages for task in stage]
        self.rows = [dict(row) for row in rows]
        self.predict_on = predict_on
        self.split = split

    @classmethod
    def read(
        cls,
        folders: Sequence[str | Path],
        stages: Sequence[Sequence[str]],
    ) -> 'StageScores | None':
        """Read the closing tests of stages.

        Args:
            folders (Sequence[str | Path]): Work directories of the stages.
            stages (Sequence[Sequence[str]]): The new tasks of each.

        Returns:
            StageScores, optional: None if the last stage was not tested.
        """
        rows: list[dict[str, float]] = []
        predict_on = split = ''
        for folder in folders:
            rows.append({})
            file = Path(folder) / 'results.json'
            if not file.is_file():
                continue
            content = read_results(file)
            predict_on, split = content['predict_on'], content['split']
            for task, values in content['metrics'][predict_on].items():
                value = values.get(headline(task).removeprefix(f'{task}/'))
                if value is not None:
                    rows[-1][task] = float(value)
        if not rows[-1]:
            return None
        return cls(stages, rows, predict_on, split)

    def score(self, stage: int, task: str) -> float:
        """Return a task's score after a stage, NaN where there is none."""
        return self.rows[stage].get(task, math.nan)

    def arrival(self, task: str) -> int:
        """Return the number of the stage that a task arrived in."""
        return next(i for i, tasks in enumerate(self.stages) if task in tasks)

    def of_task(self, task: str) -> TaskScores:
        """Return what a task has and loses, see :data:`DEFINITIONS`."""
        first, last = self.arrival(task), len(self.rows) - 1
        learned, final = self.score(first, task), self.score(last, task)
        if first == last:
            return TaskScores(learned, final, math.nan, math.nan)
        scores = [self.score(i, task) for i in range(first, last)]
        best = max((s for s in scores if s == s), default=math.nan)
        return TaskScores(learned, final, final - learned, best - final)

    def measures(self) -> dict[str, float]:
        """Return ``average``, ``backward_transfer`` and ``forgetting``."""
        each = [self.of_task(task) for task in self.tasks]
        return dict(
            average=float(nan_mean([s.final for s in each])),
            backward_transfer=float(
                nan_mean([s.backward_transfer for s in each])
            ),
            forgetting=float(nan_mean([s.forgetting for s in each])),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; undefined values are None."""
        return dict(
            version=VERSION,
            definitions=DEFINITIONS,
            predict_on=self.predict_on,
            split=self.split,
            stages=self.stages,
            metrics={task: headline(task) for task in self.tasks},
            rows=self.rows,
            tasks={
                task: _plain(self.of_task(task)._asdict())
                for task in self.tasks
            },
            measures=_plain(self.measures()),
        )

    def text(self) -> str:
        """Lay the matrix and the measures out."""
        table = markdown_table(
            ['after stage', *map(headline, self.tasks)],
            [
                [str(i + 1), *(_cell(self.score(i, t)) for t in self.tasks)]
                for i in range(len(self.rows))
            ],
        )
        measures = ', '.join(
            f'{name.replace("_", " ")} {_cell(value)}'
            for name, value in self.measures().items()
        )
        return f'{table}\n{measures}'

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``continual.json`` and ``continual.csv``."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator='\n')
        writer.writerow(['stage', 'new', *self.tasks])
        for i, new in enumerate(self.stages):
            cells = (self.rows[i].get(task) for task in self.tasks)
            writer.writerow(
                [
                    *(i + 1, ' '.join(new)),
                    *('' if x is None else f'{x:.6f}' for x in cells),
                ]
            )
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + '\n'
        return [
            write_whole(Path(folder) / FILE, text),
            write_whole(Path(folder) / 'continual.csv', stream.getvalue()),
        ]


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {k: v if math.isfinite(v) else None for k, v in values.items()}


def _cell(value: float) -> str:
    return '' if math.isnan(value) else f'{value:.3f}'
