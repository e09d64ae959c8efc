"""Details, notes, intervals and differences of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.report.benchmark_table import BenchmarkTable
from fx_mm.evaluation.report.predictions import TaskPredictions
from fx_mm.evaluation.statistics.bootstrap import (
    LEVEL,
    Statistics,
    draw,
    intervals,
    paired_intervals,
    unweighted,
)
from fx_mm.evaluation.statistics.operating_points import Thresholds
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

Key = tuple[str, str]
"""Which model predicted, and the name of the task."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        resamples (int): Number of resamples.
        seed (int): Seed of the draws. Defaults to 0.
    """

    resamples: int
    seed: int = 0


class Assessment:
    """All that a report says of one checkpoint's predictions.

    Args:
        predictions (Sequence[TaskPredictions]): Of all tasks, by teacher and
            student as far as they were evaluated.
        metrics (Mapping[str, TaskMetric]): Task to its metric.
        validation (Sequence[TaskPredictions]): Those on the validation
            split, for the thresholds of F1 and MCC. Defaults to none.
    """

    def __init__(
        self,
        predictions: Sequence[TaskPredictions],
        metrics: Mapping[str, TaskMetric],
        validation: Sequence[TaskPredictions] = (),
    ) -> None:
        ordered = sorted(
            predictions, key=lambda p: PREDICTORS.index(p.predict_on)
        )
        self.predictions = {(p.predict_on, p.name): p for p in ordered}
        self.metrics = metrics
        self.thresholds: dict[Key, Thresholds] = {}
        for of_task in validation:
            metric = metrics[of_task.name]
            if metric.takes_thresholds:
                key = (of_task.predict_on, of_task.name)
                chosen = metric.choose_thresholds(of_task.records)
                self.thresholds[key] = chosen

    def fill(
        self,
        table: BenchmarkTable,
        bootstrap: Bootstrap | None = None,
        other: 'Assessment | None' = None,
    ) -> None:
        """Write details, notes, intervals and differences into a table.

        Args:
            table (BenchmarkTable): Has the headline metrics.
            bootstrap (Bootstrap, optional): Defaults to None: no intervals.
            other (Assessment, optional): The model to compare with; needs
                ``bootstrap``. Defaults to None.

        Raises:
            UserError: If the other model predicted for other images.
        """
        for key, of_task in self.predictions.items():
            predict_on, task = key
            values = table.values[predict_on].setdefault(task, {})
            values.update(
                self.metrics[task].details(
                    of_task.records, self.thresholds.get(key)
                )
            )
            table.n_images[task] = len(of_task.records)
            notes = table.notes.setdefault(task, [])
            for note in self._notes(key, values):
                if note not in notes:
                    notes.append(note)
        if bootstrap is None:
            return
        table.bootstrap = dict(
            level=LEVEL,
            resamples=bootstrap.resamples,
            seed=bootstrap.seed,
            units={
                of_task.name: 'patients' if of_task.patients else 'images'
                for of_task in self.predictions.values()
            },
        )
        keys = list(self.predictions)
        if other is not None:
            keys = [key for key in keys if key in other.predictions]
            if not keys:
                raise UserError(
                    'The predictions to compare with have no task in common '
                    f'with these ({_list(self.predictions)}); they have '
                    f'{_list(other.predictions)}.'
                )
            for key in keys:
                self._check_same(key, other)
        for key, of_task in self.predictions.items():
            predict_on, task = key
            draws = self.draws(key, bootstrap, of_task.patients)
            table.intervals.setdefault(predict_on, {})[task] = intervals(draws)
            if other is None or key not in keys:
                continue
            table.differences.setdefault(predict_on, {})[task] = (
                paired_intervals(
                    self.values(key),
                    draws,
                    other.values(key),
                    other.draws(key, bootstrap, of_task.patients),
                )
            )

    def draws(
        self, key: Key, bootstrap: Bootstrap, patients: list[str] | None
    ) -> dict[str, np.ndarray]:
        """Compute the metrics of a task on resamples."""
        return draw(
            self._statistics(key),
            len(self.predictions[key].records),
            bootstrap.resamples,
            bootstrap.seed,
            patients,
        )

    def values(self, key: Key) -> dict[str, float]:
        """Compute the metrics that :meth:`draws` has, on all images."""
        size = len(self.predictions[key].records)
        return unweighted(self._statistics(key), size)

    def _statistics(self, key: Key) -> Statistics:
        return self.metrics[key[1]].statistics(
            self.predictions[key].records, self.thresholds.get(key)
        )

    def _notes(self, key: Key, values: Mapping[str, float]) -> list[str]:
        predict_on, task = key
        records = self.predictions[key].records
        if not records:
            return ['There are no images.']
        return self.metrics[task].notes(
            records, values, predict_on, key in self.thresholds
        )

    def _check_same(self, key: Key, other: 'Assessment') -> None:
        ours, theirs = self.predictions[key], other.predictions[key]
        pairs = [[r[0] for r in p.records] for p in (ours, theirs)]
        if pairs[0] != pairs[1]:
            differing = sorted(set(pairs[0]) ^ set(pairs[1]))
            raise UserError(
                f'{ours.name}: the predictions to compare with are of other '
                f'images ({len(differing)} are in one of both, such as '
                f'"{differing[0]}"); evaluate both on the same split.'
            )
        for own, their in zip(ours.records, theirs.records):
            if not self.metrics[ours.name].same_truth(own, their):
                raise UserError(
                    f'{ours.name}: the truth of image "{own[0]}" differs '
                    'from that of the predictions to compare with; evaluate '
                    'both with the same annotation and sizes.'
                )


def _list(predictions: Mapping[Key, TaskPredictions]) -> str:
    return ', '.join('/'.join(key) for key in predictions)
