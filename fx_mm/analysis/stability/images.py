"""What the saved predictions of a study's tests say image by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fx_mm.analysis.stability.runs import TestRun
from fx_mm.analysis.stability.trivial import task_metric, value_of
from fx_mm.analysis.subgroups import age_groups, read_metadata, sex_groups
from fx_mm.evaluation.metrics.mask_codes import decode
from fx_mm.evaluation.report.predictions import (
    TaskPredictions,
    read_predictions,
)
from fx_mm.evaluation.statistics.agreement import (
    decision_agreement,
    mask_dice,
    matched_iou,
)
from fx_mm.evaluation.statistics.prediction_sets import (
    Coverage,
    compare_sets,
    draw_calibration,
)
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

LEAST_SCORE = 0.3
"""Boxes of lower scores do not count for the agreement."""
GROUPS = 8
"""Most values that a column of subgroups may have."""


@dataclass
class Predictions:
    """Predictions of one test.

    Attributes:
        test (TaskPredictions): Of the test split.
        val (TaskPredictions, optional): Of the validation split.
    """

    test: TaskPredictions
    val: TaskPredictions | None

    def of_val(self) -> TaskPredictions:
        """Return those of the validation split.

        Raises:
            ValueError: If there are none.
        """
        if self.val is None:
            raise ValueError('there are no validation predictions')
        return self.val


def read_run(run: TestRun, task: Task) -> Predictions:
    """Read what a finished test saved."""

    def metric_of(_: Any) -> Any:
        metric = task_metric(task)
        if hasattr(metric, 'keep_masks'):
            metric.keep_masks = True
        return metric

    files = {split: run.predictions(split) for split in ('test', 'val')}
    found = {
        split: read_predictions(file, metric_of) if file.is_file() else None
        for split, file in files.items()
    }
    if found['test'] is None:
        raise UserError(
            f'{files["test"]} is missing; remove {run.folder} and start again.'
        )
    return Predictions(found['test'], found['val'])


def subgroup_results(
    task: Task,
    key: str,
    predictions: Mapping[tuple[str, int], Predictions],
    table: str | Path,
    columns: Sequence[str],
) -> dict[str, dict[str, dict[int, float]]]:
    """Compute a metric within groups of the test images.

    Args:
        task (Task): The task.
        key (str): The metric.
        predictions (Mapping): (arm, seed) to predictions.
        table (str | Path): CSV file with a column ``image``.
        columns (Sequence[str]): ``sex``, ``age``, or any with few values.

    Returns:
        dict: ``column = value`` to arm, seed and metric.

    Raises:
        UserError: If a column is missing or has too many values.
    """
    metric = task_metric(task)
    found: dict[str, dict[str, dict[int, float]]] = {}
    for (arm, seed), of_run in predictions.items():
        records = of_run.test.records
        metadata = read_metadata(table, [record[0] for record in records])
        for column in columns:
            if column not in metadata:
                raise UserError(f'{table} has no column "{column}".')
            for name, mask in _groups(table, column, metadata[column]).items():
                own = [r for r, chosen in zip(records, mask) if chosen]
                value = value_of(metric, own, metric.compute_unique(own), key)
                group = f'{column} = {name} ({len(own)} images)'
                found.setdefault(group, {}).setdefault(arm, {})[seed] = value
    return found


def _groups(
    table: str | Path, column: str, texts: Sequence[str]
) -> dict[str, np.ndarray]:
    if column == 'sex':
        groups = sex_groups(texts)
    elif column == 'age':
        groups = age_groups(texts)
    else:
        values = sorted(set(texts))
        if len(values) > GROUPS:
            raise UserError(
                f'{table}: column "{column}" has {len(values)} values, too '
                'many for subgroups.'
            )
        groups = {v: np.array([t == v for t in texts]) for v in values}
    return {name: mask for name, mask in groups.items() if mask.any()}


def agreement(
    task: Task, runs: Sequence[Predictions]
) -> dict[str, Any] | None:
    """Compare the predictions of several runs image by image.

    Args:
        task (Task): Of labels, boxes or masks.
        runs (Sequence[Predictions]): Of the same images.

    Returns:
        dict, optional: ``measure``, ``value`` and, by image, the mean over
        the pairs of runs; None for another kind, fewer than two runs, or
        labels without a validation split.
    """
    if len(runs) < 2:
        return None
    ids = [record[0] for record in runs[0].test.records]
    kind = task.kind.name
    if kind == 'cls':
        if any(run.val is None for run in runs):
            return None
        metric = task_metric(task)
        decisions = []
        for run in runs:
            thresholds = metric.choose_thresholds(run.of_val().records).f1
            scores = np.stack([r.scores for r in run.test.records])
            decisions.append(scores >= thresholds)
        value, images = decision_agreement(np.stack(decisions))
        name = "Cohen's kappa of decisions at the thresholds of best F1"
    elif kind in ('loc', 'seg'):
        images = np.array(
            [
                np.mean([_alike(kind, a, b) for a, b in combinations(same, 2)])
                for same in zip(*(run.test.records for run in runs))
            ]
        )
        value = float(images.mean())
        name = dict(
            loc=f'IoU of matched boxes with a score of {LEAST_SCORE} or more',
            seg='Dice of the masks',
        )[kind]
    else:
        return None
    return dict(
        measure=name,
        runs=len(runs),
        value=value,
        images=dict(zip(ids, map(float, images))),
    )


def _alike(kind: str, a: Any, b: Any) -> float:
    if kind == 'loc':
        return matched_iou(a, b, LEAST_SCORE)
    own, other = (decode(r.codes['pred']).numpy() for r in (a, b))
    return mask_dice(list(own), list(other))


def prediction_sets(
    pools: Mapping[int, Sequence[Predictions]],
    level: float,
    repeats: int,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Calibrate prediction sets on validation images and test them.

    Once as the splits are; then ``repeats`` times with the patients of both
    splits drawn anew, for each training's pool.

    Args:
        pools (Mapping): Seed of a training to its predictions: of teacher,
            student, checkpoints and views. The first is the base's.
        level (float): Nominal coverage.
        repeats (int): Number of draws.
        seed (int): Of the draws. Defaults to 0.

    Returns:
        dict, optional: None where a validation split is missing.
    """
    members = [p for pool in pools.values() for p in pool]
    if not members or any(p.val is None for p in members):
        return None
    found: dict[str, Any] = dict(
        level=level,
        repeats=repeats,
        members=[len(pool) for pool in pools.values()],
        splits={},
        redrawn={},
    )
    once: dict[str, list[Coverage]] = {}
    drawn: dict[str, list[Coverage]] = {}
    rng = np.random.default_rng(seed)
    for pool in pools.values():
        stacked, labels, is_val, groups = _stack(pool)
        masks = [is_val] + [
            draw_calibration(len(is_val), is_val.mean(), rng, groups)
            for _ in range(repeats)
        ]
        for number, mask in enumerate(masks):
            compared = compare_sets(stacked, stacked[0], labels, mask, level)
            for name, coverage in compared.items():
                into = drawn if number else once
                into.setdefault(name, []).append(coverage)
    for name in once:
        found['splits'][name] = _mean(once[name])
        found['redrawn'][name] = _mean(drawn[name]) | dict(
            lowest=min(c.coverage for c in drawn[name])
        )
    return found


def _stack(
    pool: Sequence[Predictions],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return scores (M, N, C), labels (N, C), is_val (N,), patients (N,)."""
    scores = [
        np.stack([r.scores for r in (*m.of_val().records, *m.test.records)])
        for m in pool
    ]
    labels, patients, sizes = [], [], []
    for split in (pool[0].of_val(), pool[0].test):
        names = [f'{split.split} {r.img_id}' for r in split.records]
        patients += split.patients or names
        labels += [r.labels for r in split.records]
        sizes.append(len(names))
    return (
        np.stack(scores),
        np.stack(labels),
        np.repeat([True, False], sizes),
        np.unique(patients, return_inverse=True)[1],
    )


def _mean(values: Sequence[Coverage]) -> dict[str, float]:
    means = np.mean(np.array(values, float), axis=0)
    return dict(zip(Coverage._fields, map(float, means)))
