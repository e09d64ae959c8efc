"""All that a report says of a model's answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fx_mm.evaluation.metrics.base import TaskMetric, ones, without_columns
from fx_mm.evaluation.report.predictions import Predictions
from fx_mm.evaluation.report.table import BenchmarkTable
from fx_mm.evaluation.statistics.bootstrap import (
    LEVEL,
    draw,
    intervals,
    paired_intervals,
)
from fx_mm.evaluation.statistics.operating_points import (
    Thresholds,
    choose_thresholds,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

Key = tuple[str, str]
"""Weights and name of a task."""


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
    """The answers of one model, judged.

    Args:
        answers (Sequence[Predictions]): Of all tasks and models.
        metrics (Mapping[str, TaskMetric]): Task to its metric.
        validation (Sequence[Predictions]): Answers to the validation split,
            for the thresholds of F1 and MCC. Defaults to none.
    """

    def __init__(
        self,
        answers: Sequence[Predictions],
        metrics: Mapping[str, TaskMetric],
        validation: Sequence[Predictions] = (),
    ) -> None:
        ordered = sorted(answers, key=lambda a: PREDICTORS.index(a.predict_on))
        self.answers = {(a.predict_on, a.name): a for a in ordered}
        self.metrics = metrics
        self.thresholds: dict[Key, Thresholds] = {}
        for answer in validation:
            metric = metrics[answer.name]
            if metric.takes_thresholds:
                pair = metric.stack(answer.records)
                key = (answer.predict_on, answer.name)
                self.thresholds[key] = choose_thresholds(*pair)

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
            UserError: If the other model answered other images.
        """
        for (predict_on, task), answer in self.answers.items():
            values = table.values[predict_on].setdefault(task, {})
            values.update(self._details(predict_on, task))
            table.n_images[task] = len(answer.records)
            notes = table.notes.setdefault(task, [])
            for note in self._notes(predict_on, task, values):
                if note not in notes:
                    notes.append(note)
        if bootstrap is None:
            return
        table.bootstrap = dict(
            level=LEVEL,
            resamples=bootstrap.resamples,
            seed=bootstrap.seed,
            units={
                answer.name: 'patients' if answer.patients else 'images'
                for answer in self.answers.values()
            },
        )
        keys = list(self.answers)
        if other is not None:
            keys = [key for key in keys if key in other.answers]
            if not keys:
                raise UserError(
                    'The predictions to compare with have no task in common '
                    f'with these ({_list(self.answers)}); they have '
                    f'{_list(other.answers)}.'
                )
            for key in keys:
                self._check_same(key, other)
        for key, answer in self.answers.items():
            predict_on, task = key
            draws = self.draws(key, bootstrap, answer.patients)
            table.intervals.setdefault(predict_on, {})[task] = intervals(draws)
            if other is None or key not in keys:
                continue
            table.differences.setdefault(predict_on, {})[task] = (
                paired_intervals(
                    self.values(key),
                    draws,
                    other.values(key),
                    other.draws(key, bootstrap, answer.patients),
                )
            )

    def draws(
        self, key: Key, bootstrap: Bootstrap, patients: list | None
    ) -> dict[str, np.ndarray]:
        """Compute the metrics of a task on resamples."""
        return draw(
            self._statistics(key),
            len(self.answers[key].records),
            bootstrap.resamples,
            bootstrap.seed,
            patients,
        )

    def values(self, key: Key) -> dict[str, float]:
        """Compute the metrics that :meth:`draws` has, on all images."""
        records = self.answers[key].records
        return without_columns(self._statistics(key)(ones(len(records))))

    def _statistics(self, key: Key):
        return self.metrics[key[1]].statistics(
            self.answers[key].records, self.thresholds.get(key)
        )

    def _details(self, predict_on: str, task: str) -> dict[str, float]:
        return self.metrics[task].details(
            self.answers[predict_on, task].records,
            self.thresholds.get((predict_on, task)),
        )

    def _notes(
        self, predict_on: str, task: str, values: Mapping[str, float]
    ) -> list[str]:
        answer = self.answers[predict_on, task]
        if not answer.records:
            return ['There are no images.']
        return self.metrics[task].notes(
            answer.records,
            values,
            predict_on,
            (predict_on, task) in self.thresholds,
        )

    def _check_same(self, key: Key, other: 'Assessment') -> None:
        ours, theirs = self.answers[key], other.answers[key]
        pairs = [[r[0] for r in a.records] for a in (ours, theirs)]
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


def _list(answers: Mapping[Key, Predictions]) -> str:
    return ', '.join('/'.join(key) for key in answers)
