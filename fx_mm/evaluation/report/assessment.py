"""Details, notes, intervals and differences of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.report.benchmark_table import BenchmarkTable
from fx_mm.evaluation.report.predictions import TaskPredictions
from fx_mm.evaluation.statistics.bootstrap import (
    LEVEL,
    Sampled,
    group_numbers,
    sample,
)
from fx_mm.evaluation.statistics.multiplicity import adjust
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
        bca (bool): Whether they are bias-corrected and accelerated; else
            they are percentiles. Defaults to False.
        correction (str): Of p-values that are read together, ``holm`` or
            ``bh``. Defaults to ``holm``.
    """

    resamples: int
    seed: int = 0
    bca: bool = False
    correction: str = 'holm'


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
            method='BCa' if bootstrap.bca else 'percentile',
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
            patients, metric = of_task.patients, self.metrics[task]
            groups = group_numbers(patients)
            ours = self.sample_of(key, bootstrap, patients)
            table.intervals.setdefault(predict_on, {})[task] = ours.intervals()
            normal = metric.normal_intervals(of_task.records, groups)
            table.normal_intervals.setdefault(predict_on, {})[task] = normal
            if other is None or key not in keys:
                continue
            theirs = other.sample_of(key, bootstrap, patients)
            table.differences.setdefault(predict_on, {})[task] = ours.minus(
                theirs
            ).differences()
            table.normal_differences.setdefault(predict_on, {})[task] = (
                metric.normal_differences(
                    of_task.records, other.predictions[key].records, groups
                )
            )
        if other is not None:
            _adjust(table, bootstrap.correction)

    def sample_of(
        self, key: Key, bootstrap: Bootstrap, patients: list[str] | None
    ) -> Sampled:
        """Compute the metrics of a task on all images and on resamples."""
        records = self.predictions[key].records
        return sample(
            self.metrics[key[1]].statistics(records, self.thresholds.get(key)),
            len(records),
            bootstrap.resamples,
            bootstrap.seed,
            patients,
            bootstrap.bca,
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


def _adjust(table: BenchmarkTable, correction: str) -> None:
    """Adjust the p-values of a model's differences that are read together.

    They are two families: the headline metrics of all tasks, and the classes
    of all tasks that have several.
    """
    table.correction = correction
    for of_model in table.differences.values():
        headlines, classes = [], []
        for task in table.tasks:
            if task.name not in of_model:
                continue
            headlines += [(task.name, c.metric) for c in task.kind.columns]
            if len(task.classes) > 1:
                metric = task.kind.class_metric
                classes += [(task.name, f'{metric}/{c}') for c in task.classes]
        for family in (headlines, classes):
            found = [of_model[name].get(key) for name, key in family]
            adjusted = adjust(
                [f.p if f else np.nan for f in found], correction
            )
            for (name, key), each, p in zip(family, found, adjusted):
                if each is not None:
                    of_model[name][key] = each._replace(p_adjusted=float(p))


def _list(predictions: Mapping[Key, TaskPredictions]) -> str:
    return ', '.join('/'.join(key) for key in predictions)
