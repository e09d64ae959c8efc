"""All that a scaling report says, as one dict, from finished runs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fx_mm.analysis.embeddings import Embeddings
from fx_mm.analysis.scaling.power_law import (
    LEAST,
    estimate_over_seeds,
    fit_power_law,
)
from fx_mm.analysis.scaling.runs import (
    Cell,
    FineTuneRun,
    Plan,
    StartedRun,
    mixtures,
    share_name,
)
from fx_mm.analysis.scaling.study import NOTHING, Study
from fx_mm.analysis.stability.trivial import task_metric
from fx_mm.analysis.subgroups import read_scores
from fx_mm.config import load_config
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.evaluation.report.predictions import read_predictions
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.evaluation.statistics.bootstrap import Statistics, sample
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.ranking import auc_statistics
from fx_mm.models import build_model
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.errors import UserError

IMAGES, PARAMETERS = 'images', 'parameters'
MIXED, SINGLE = 'together', 'alone'


def build_report(study: Study, plan: Plan, resamples: int) -> dict[str, Any]:
    """Compute the report of what is finished.

    Args:
        study (Study): The study.
        plan (Plan): Its runs.
        resamples (int): Of the test patients of each target.

    Returns:
        dict: Ready for JSON; undefined values are None.

    Raises:
        UserError: If nothing is finished.
    """
    init_default_scope('fx_mm')
    first = next(iter(study.sizes))
    tasks = {
        name: next(iter(TaskTable.from_cfg(plan.targets[name, first])))
        for name in study.downstream
    }
    draws = {
        key: _draws(run, tasks[key[1]], resamples)
        for key, run in plan.tests.items()
        if run.finished
    }
    if not draws:
        raise UserError(
            'No run of the study is finished; run it without --report-only.'
        )
    report = _Report(study, draws, _images(plan), _parameters(plan))
    return dict(
        resamples=resamples,
        seeds=study.seeds,
        methods=list(study.pretraining),
        shares=[share_name(share) for share in study.shares],
        parameters=report.parameters,
        images=report.images,
        targets={
            name: dict(
                task=task.name,
                metric=task.kind.headline(),
                how=study.downstream[name].how,
                images=study.downstream[name].images,
            )
            for name, task in tasks.items()
        },
        results=list(report.results()),
        fits=list(report.fits()),
        diversity=list(report.diversity()),
        runs=dict(
            pretraining=_count(plan.pretraining.values()),
            tests=_count(plan.tests.values()),
        ),
    )


class _Report:
    """Parts of the report.

    Args:
        study (Study): The study.
        draws (Mapping): (cell, target) to the metric on all test images and
            on resamples of them, (1 + R,).
        images (Mapping): Method to data and training images.
        parameters (Mapping): Size to parameters of the backbone.
    """

    def __init__(
        self,
        study: Study,
        draws: Mapping[tuple[Cell, str], np.ndarray],
        images: Mapping[str, Mapping[str, float]],
        parameters: Mapping[str, int],
    ) -> None:
        self.study = study
        self.draws = draws
        self.images = images
        self.parameters = parameters

    def values(
        self, target: str, keys: Sequence[tuple[str, str, str]]
    ) -> tuple[list[int], np.ndarray]:
        """Collect the seeds that have all of some cells.

        Args:
            target (str): Name of the target.
            keys (Sequence): K of (method, size, data).

        Returns:
            tuple[list[int], np.ndarray]: S seeds and (S, K, 1 + R).
        """
        found = {}
        for seed in self.study.seeds:
            cells = [(Cell(*key, seed), target) for key in keys]
            if all(cell in self.draws for cell in cells):
                found[seed] = np.stack([self.draws[cell] for cell in cells])
        return list(found), np.array(list(found.values()))

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the metric of each model, and what it gains over nothing."""
        keys = dict.fromkeys(cell[:3] for cell, _ in self.draws)
        for target in self.study.downstream:
            for key in keys:
                method, size, data = key
                seeds, values = self.values(target, [key])
                if not seeds:
                    continue
                gain = None
                if method != NOTHING:
                    pair = [key, (NOTHING, size, '')]
                    gain = self.difference(target, pair)
                yield dict(
                    target=target,
                    method=method,
                    size=size,
                    data=data,
                    images=self.images.get(method, {}).get(data),
                    seeds={
                        str(seed): _number(value)
                        for seed, value in zip(seeds, values[:, 0, 0])
                    },
                    metric=estimate_over_seeds(values[:, 0]).to_dict(),
                    gain=gain,
                )

    def difference(
        self, target: str, keys: Sequence[tuple[str, str, str]]
    ) -> dict[str, Any] | None:
        """Estimate by how much the first is better than the others' mean."""
        seeds, values = self.values(target, keys)
        if not seeds:
            return None
        differences = values[:, 0] - values[:, 1:].mean(axis=1)
        found = estimate_over_seeds(differences)
        return dict(found.to_dict(), seeds=len(seeds))

    def fits(self) -> Iterator[dict[str, Any]]:
        """Yield a power law for every curve of at least three points."""
        sizes = list(self.parameters)
        shares = [share_name(share) for share in self.study.shares]
        for target in self.study.downstream:
            for method in self.study.pretraining:
                counts = self.images[method]
                for size in sizes if len(shares) >= LEAST else ():
                    keys = [(method, size, share) for share in shares]
                    yield dict(
                        dict(target=target, method=method),
                        **dict(along=IMAGES, at=size),
                        **self.fit(target, keys, [counts[s] for s in shares]),
                    )
                for share in shares if len(sizes) >= LEAST else ():
                    keys = [(method, size, share) for size in sizes]
                    x = list(self.parameters.values())
                    yield dict(
                        dict(target=target, method=method),
                        **dict(along=PARAMETERS, at=share),
                        **self.fit(target, keys, x),
                    )

    def fit(
        self,
        target: str,
        keys: Sequence[tuple[str, str, str]],
        x: Sequence[float],
    ) -> dict[str, Any]:
        """Fit a power law to the seeds that have all points."""
        seeds, values = self.values(target, keys)
        if not seeds:
            return dict(seeds=0)
        law = fit_power_law(np.array(x, np.float64), values)
        ours, constant = law.prediction_error
        return dict(
            seeds=len(seeds),
            points=[
                dict(x=float(at), errors=[_number(1 - v) for v in column])
                for at, column in zip(x, values[:, :, 0].T)
            ],
            intercept=_number(law.intercept),
            exponent=law.exponent.to_dict(),
            metric_exponent=law.metric_exponent.to_dict(),
            left_out=[
                {key: _number(value) for key, value in each._asdict().items()}
                for each in law.left_out
            ],
            prediction_error=dict(
                law=_number(ours), constant=_number(constant)
            ),
        )

    def diversity(self) -> Iterator[dict[str, Any]]:
        """Yield what several datasets gain over the mean of single ones."""
        data = mixtures(self.study)
        if not data:
            return
        size = self.study.diversity['size']
        for target in self.study.downstream:
            for method in self.study.diversity['pretraining']:
                keys = [(method, size, name) for name in reversed(data)]
                yield dict(
                    target=target,
                    method=method,
                    size=size,
                    images=self.study.diversity['images'],
                    difference=self.difference(target, keys),
                )


def _draws(run: StartedRun, task: Task, resamples: int) -> np.ndarray:
    """Return a run's metric on all test images and on resamples, (1 + R,).

    The resamples are the same for all runs of a target.
    """
    key = task.kind.headline()
    if isinstance(run, FineTuneRun):
        statistics, count, patients = _fine_tuned(run, task)
    else:
        statistics, count, patients = _probed(run, task)
    found = sample(
        lambda weights: {key: statistics(weights)[key]},
        count,
        resamples,
        patients=patients,
    )
    return np.concatenate([[found.values[key]], found.draws[key]])


Tested = tuple[Statistics, int, Sequence[str] | None]


def _fine_tuned(run: StartedRun, task: Task) -> Tested:
    """Read the predictions of a fine-tuned model."""
    metric = task_metric(task)
    metric.kept = []
    model = read_results(run.results)['predict_on']
    name = f'{task.name.replace("/", "_")}.npz'
    file = run.folder / 'predictions' / 'test' / model / name
    if not file.is_file():
        raise UserError(
            f'{file} is missing; remove {run.folder} and start again.'
        )
    found = read_predictions(file, lambda _: metric)
    if found is None:
        raise ValueError('no file is skipped')
    records = found.records
    return metric.statistics(records), len(records), found.patients


def _probed(run: StartedRun, task: Task) -> Tested:
    """Read the scores of a linear probe."""
    found = read_scores(run.folder / f'{task.dataset}_scores.csv')
    if found.labels is None:
        raise ValueError('a probe writes labels')
    vectors = Embeddings.load(run.folder / 'embeddings.npz')
    patients = list(vectors.patients[vectors.splits == 'test'])
    columns = dict(zip(found.classes, zip(found.labels.T, found.scores.T)))
    aucs = auc_statistics(columns)
    key = task.kind.headline()

    def statistics(weights: np.ndarray) -> dict[Any, np.ndarray]:
        return {key: nan_mean(list(aucs(weights).values()), axis=0)}

    return statistics, len(found.names), patients


def _images(plan: Plan) -> dict[str, dict[str, float]]:
    """Count the training images of each method and data, mean over seeds."""
    counts: dict[str, dict[str, dict[int, int]]] = {}
    for cell, run in plan.pretraining.items():
        of_data = counts.setdefault(cell.method, {}).setdefault(cell.data, {})
        # the same for every size
        if cell.seed not in of_data:
            of_data[cell.seed] = _distinct(load_config(str(run.config)))
    return {
        method: {
            data: float(np.mean(list(each.values())))
            for data, each in of.items()
        }
        for method, of in counts.items()
    }


def _distinct(cfg: Config) -> int:
    """Count the distinct images that a config trains on."""
    return len(
        {
            (task.dataset, name)
            for task in TaskTable.from_cfg(cfg)
            for name in TaskDataset(task, 'train').data_list.column('img_id')
        }
    )


def _parameters(plan: Plan) -> dict[str, int]:
    """Count the parameters of each size's backbone."""
    return {
        size: sum(
            p.numel() for p in build_model(cfg).student.backbone.parameters()
        )
        for (_, size), cfg in plan.targets.items()
    }


def _count(runs: Any) -> dict[str, int]:
    done = [run.finished for run in runs]
    return dict(finished=sum(done), all=len(done))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
