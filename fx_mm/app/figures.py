"""Figures of a test that stand beside predictions."""

from pathlib import Path
from typing import Any

from fx_mm.app.answers import Figure
from fx_mm.evaluation.report.results_file import (
    check_checkpoint,
    read_results,
)
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.visualization.results.base import finite

RESULTS = 'results.json'


class TestFigures:
    """The results of a test of one checkpoint, if there are any.

    Args:
        checkpoint (str): Path of the checkpoint that predicts.
        predict_on (str): Which of its models predicts.
        path (str | Path, optional): A results.json of it. Defaults to None:
            the one beside the checkpoint, if it is of it.

    Raises:
        UserError: If a file that is named cannot be used.
    """

    __test__ = False  # for pytest

    def __init__(
        self,
        checkpoint: str,
        predict_on: str,
        path: str | Path | None = None,
    ) -> None:
        self.reason = (
            'There is no results.json of this checkpoint beside it; '
            'tools/test.py writes one.'
        )
        self._content: dict[str, Any] = {}
        self._predict_on = predict_on
        asked = path is not None
        file = Path(path or Path(checkpoint).with_name(RESULTS))
        if not asked and ('://' in checkpoint or not file.is_file()):
            return
        try:
            content = read_results(file)
            check_checkpoint(
                content, file, checkpoint, 'run tools/test.py on it'
            )
            if predict_on not in content['metrics']:
                raise UserError(
                    f'{file} has no results of the {predict_on}; run '
                    f'tools/test.py --predict-on {predict_on}.'
                )
        except UserError as error:
            if asked:
                raise
            self.reason = f'{file.name} was not used: {error}'
            return
        self._content, self.reason = content, ''

    def n_images(self, task: Task) -> int | None:
        """Return how many images a task was tested on."""
        own = self._content.get('tasks', {}).get(task.name) or {}
        return own.get('n_images')

    def all(self, task: Task) -> list[Figure]:
        """Return every figure of a task."""
        own = self._values('metrics', task)
        return [self._figure(task, name) for name in own]

    def headline(self, task: Task) -> Figure | None:
        """Return the main figure of a task."""
        return self._known(task, task.kind.columns[0].metric)

    def of_class(self, task: Task, name: str) -> Figure | None:
        """Return the figure of one class of a task."""
        return self._known(task, f'{task.kind.class_metric}/{name}')

    def _known(self, task: Task, metric: str) -> Figure | None:
        known = metric in self._values('metrics', task)
        return self._figure(task, metric) if known else None

    def _values(self, which: str, task: Task) -> dict[str, Any]:
        found = self._content.get(which, {}).get(self._predict_on) or {}
        return found.get(task.name) or {}

    def _figure(self, task: Task, metric: str) -> Figure:
        value = self._values('metrics', task)[metric]
        ends = (
            self._values('normal_intervals', task).get(metric)
            or self._values('intervals', task).get(metric)
            or (None, None)
        )
        return Figure(
            name=metric,
            value=_known(value),
            low=_known(ends[0]),
            high=_known(ends[1]),
            split=self._content['split'],
        )


def _known(value: float | None) -> float | None:
    return None if value is None else finite(value)
