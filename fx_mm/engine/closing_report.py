"""The closing table, curves and pictures of a training or a test."""

import copy
import glob
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from fx_mm.datasets.readers.patients import find_patients
from fx_mm.engine.loops.eval_loop import MultiTaskTestLoop
from fx_mm.engine.pictures import record_picture
from fx_mm.engine.trackers import report_to_trackers
from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.report.assessment import Assessment, Bootstrap
from fx_mm.evaluation.report.benchmark_table import BenchmarkTable
from fx_mm.evaluation.report.predictions import (
    TaskPredictions,
    find_files,
    read_predictions,
)
from fx_mm.evaluation.report.results_file import save_results
from fx_mm.registry import METRICS
from fx_mm.tasks import TaskTable
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.checkpoint import find_checkpoint, local_path
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import hash_file
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.visualization.curves import plot_curves
from fx_mm.visualization.task_plots import plot_task

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

VALIDATION = 'val'


@dataclass(frozen=True)
class ReportOptions:
    """What a report has besides the table.

    Attributes:
        resamples (int): Resamples of the bootstrap; 0 for no intervals.
        seed (int): Its seed.
        bca (bool): Whether intervals are bias-corrected and accelerated.
        correction (str): Of the p-values of ``compare``, ``holm`` or ``bh``.
        save_predictions (bool): Whether to write ``predictions/``.
        thresholds_from (str, optional): Where the thresholds of F1 and MCC
            come from: ``val``, the validation split, or a file or folder of
            predictions of it.
        compare (str, optional): File or folder of another model's
            predictions.
        skipped (Mapping[str, str]): Task to why it is not evaluated.
    """

    resamples: int = 0
    seed: int = 0
    bca: bool = False
    correction: str = 'holm'
    save_predictions: bool = False
    thresholds_from: str | None = None
    compare: str | None = None
    skipped: Mapping[str, str] | None = None


class ClosingReport:
    """The table, files and pictures of an evaluation by the test loop.

    Prints the table of datasets by kinds and writes, into the work
    directory, ``results.json``, ``results.csv`` and ``results.md``, the
    curves of a training (``curves.png``, and ``curves`` in the visualizer's
    backends), ``plots/`` of each task, and, by the prediction sheet hook,
    ``predictions.png``. Make it before the test loop runs, whose metrics then
    keep their records.

    Args:
        runner (MultiTaskRunner): With its test loop built and weights loaded.
        options (ReportOptions): What the report has besides the table.

    Raises:
        UserError: If predictions that ``options`` name do not fit.
    """

    def __init__(
        self, runner: 'MultiTaskRunner', options: ReportOptions
    ) -> None:
        self._runner = runner
        self._options = options
        self._validation: list[TaskPredictions] = []
        if options.thresholds_from == VALIDATION:
            self._validation = _validate(runner, self._source)
        _keep_records(runner.test_loop, options.save_predictions)

    @property
    def _path(self) -> str:
        """Path or URL of the checkpoint that is evaluated."""
        runner = self._runner
        path = runner.tested_checkpoint or find_checkpoint(runner.work_dir)
        return path or ''

    @property
    def _source(self) -> str:
        """Name of the checkpoint that is evaluated."""
        return osp.basename(self._path)

    def _sha256(self) -> str:
        """Return the hash of the checkpoint; empty if it is not a file."""
        try:
            return hash_file(local_path(self._path))
        except OSError:
            return ''

    def write(self, headlines: Mapping[str, float]) -> None:
        """Write everything, on the main process alone.

        Args:
            headlines (Mapping[str, float]): What the test loop returned.
        """
        runner, options = self._runner, self._options
        loop = runner.test_loop
        split = loop.dataloader.dataset.split
        predictions = _collect(runner, loop, self._source)
        benchmark = BenchmarkTable(
            list(runner.tasks),
            headlines,
            predict_on=loop.predict_on[0],
            config=osp.basename(runner.cfg.filename or ''),
            checkpoint=self._source,
            split=split,
            sha256=self._sha256(),
        )
        if options.save_predictions:
            metrics = _task_metrics(loop)
            folder = osp.join(runner.work_dir, 'predictions')
            for of_task in [*self._validation, *predictions]:
                of_task.sha256 = benchmark.sha256
                of_task.save(folder, metrics[of_task.name])
        text = _finish(
            benchmark,
            predictions,
            self._validation,
            runner.tasks,
            options,
            runner.work_dir,
        )
        runner.logger.info('\n' + text)
        # A resumed run has a log folder for each of its stretches.
        folder = runner.log_dir
        if runner.resumed:
            folder = osp.join(runner.work_dir, '*')
        pattern = osp.join(folder, 'vis_data', 'scalars.json')
        scalars = sorted(glob.glob(pattern))
        if scalars:
            path = osp.join(runner.work_dir, 'curves.png')
            measured = runner.val_loop or loop
            plot_curves(scalars, path, measured.predict_on[0])
            record_picture(runner, 'curves', path)
        report_to_trackers(runner, headlines)
        runner.logger.info(f'The report is in {runner.work_dir}')


def report_predictions(
    cfg: Config,
    path: str | Path,
    predict_on: Sequence[str],
    options: ReportOptions = ReportOptions(),
) -> str:
    """Evaluate saved predictions, without the model and the data.

    Args:
        cfg (Config): Config with the tasks and the options of their metrics.
        path (str | Path): File or folder of predictions.
        predict_on (Sequence[str]): The predictions of which models,
            ``teacher`` or ``student``, as far as they were saved.
        options (ReportOptions): Defaults to the table alone.

    Returns:
        str: The table; files are written into ``cfg.work_dir``.

    Raises:
        UserError: If there are no predictions of these tasks, or they do
            not fit the config.
    """
    table = TaskTable.from_cfg(cfg)
    found = [p for p in _read(path, table) if p.predict_on in predict_on]
    splits = sorted({p.split for p in found})
    split = 'test' if 'test' in splits else next(iter(splits), '')
    predictions = [p for p in found if p.split == split]
    if not predictions:
        raise UserError(
            f'{path} has no predictions of the {" or ".join(predict_on)} for: '
            f'{", ".join(table.names)}.'
        )
    _check_one_model(predictions, path)
    # files come in the order of the alphabet
    predictions.sort(key=lambda p: PREDICTORS.index(p.predict_on))
    validation = []
    if options.thresholds_from == VALIDATION:
        validation = _of_validation(found, path, predictions, table)
    evaluated = {p.name for p in predictions}
    headlines = {
        f'{p.predict_on}/{p.name}/{key}': value
        for p in predictions
        for key, value in p.metrics.items()
    }
    benchmark = BenchmarkTable(
        [task for task in table if task.name in evaluated],
        headlines,
        predict_on=predictions[0].predict_on,
        config=predictions[0].config,
        checkpoint=predictions[0].checkpoint,
        split=split,
        sha256=predictions[0].sha256,
    )
    benchmark.skipped = {
        name: f'{path} has no predictions of it'
        for name in table.names
        if name not in evaluated
    }
    return _finish(
        benchmark, predictions, validation, table, options, cfg.work_dir
    )


def _finish(
    benchmark: BenchmarkTable,
    predictions: list[TaskPredictions],
    validation: list[TaskPredictions],
    table: TaskTable,
    options: ReportOptions,
    work_dir: str,
) -> str:
    """Fill the table, write all files, and return the table's text."""
    benchmark.skipped.update(options.skipped or {})
    source = options.thresholds_from
    if source is not None and source != VALIDATION:
        found = _read(source, table)
        validation = _of_validation(found, source, predictions, table)
    metrics = _metrics(table)
    ours = Assessment(predictions, metrics, validation)
    other = None
    if options.compare:
        theirs = _read(options.compare, table)
        split = [p for p in theirs if p.split == benchmark.split]
        if not split:
            raise UserError(
                f'{options.compare} has no predictions of the split '
                f'"{benchmark.split}" for these tasks; give those of the '
                'other model on the same images.'
            )
        _check_one_model(split, options.compare)
        chosen = [p for p in theirs if p.split == VALIDATION]
        other = Assessment(split, metrics, chosen if validation else ())
        names = {p.checkpoint for p in split if p.checkpoint}
        benchmark.compared_with = ', '.join(sorted(names)) or options.compare
    bootstrap = None
    if options.resamples:
        bootstrap = Bootstrap(
            options.resamples, options.seed, options.bca, options.correction
        )
    ours.fill(benchmark, bootstrap, other)
    save_results(benchmark, work_dir)
    for of_task in predictions:
        name, predict_on = of_task.name, of_task.predict_on
        plot_task(
            metrics[name],
            of_task.records,
            benchmark.values[predict_on][name],
            f'{name}, {predict_on}',
            Path(
                work_dir, 'plots', predict_on, f'{name.replace("/", "_")}.png'
            ),
        )
    return benchmark.text()


def _check_one_model(
    predictions: list[TaskPredictions], path: str | Path
) -> None:
    """Refuse predictions of several checkpoints."""
    sources = {(p.config, p.checkpoint, p.sha256) for p in predictions}
    keys = {(p.predict_on, p.name) for p in predictions}
    if len(sources) > 1 or len(keys) < len(predictions):
        raise UserError(
            f'{path} has predictions of several models '
            f'({", ".join(sorted({c for _, c, _ in sources}))}); give the '
            'folder of one.'
        )


def _of_validation(
    found: list[TaskPredictions],
    path: str | Path,
    predictions: list[TaskPredictions],
    table: TaskTable,
) -> list[TaskPredictions]:
    """Return those for the thresholds, which must be there if asked for."""
    chosen = [p for p in found if p.split == VALIDATION]
    _check_one_model(chosen, path)
    metrics = _metrics(table)
    scored = {
        (p.predict_on, p.name)
        for p in predictions
        if metrics[p.name].takes_thresholds
    }
    if scored and not scored & {(p.predict_on, p.name) for p in chosen}:
        raise UserError(
            f'{path} has no predictions of the validation split for '
            f'{", ".join(sorted({name for _, name in scored}))}, so there '
            'are no thresholds; write them with tools/test.py '
            '--save-predictions --thresholds-from val.'
        )
    return chosen


def _metrics(table: TaskTable) -> dict[str, TaskMetric]:
    """Build the metrics of the tasks that have fx_mm's own."""
    init_default_scope('fx_mm')
    metrics = {}
    for task in table:
        metric = build_part(METRICS, task.metric_cfg())
        if isinstance(metric, TaskMetric):
            metric.dataset_meta = task.meta
            metrics[task.name] = metric
    return metrics


def _read(path: str | Path, table: TaskTable) -> list[TaskPredictions]:
    """Read the predictions of the tasks of a table."""
    metrics = _metrics(table)

    def metric_of(meta: dict[str, Any]) -> TaskMetric | None:
        metric = metrics.get(meta['task'])
        if metric and list(metric.classes) != list(meta['classes']):
            raise UserError(
                f'{path}: the predictions of {meta["task"]} are of the '
                f'classes {", ".join(meta["classes"])}, the config has '
                f'{", ".join(metric.classes)}; use the config they were '
                'made with.'
            )
        return metric

    found = [read_predictions(file, metric_of) for file in find_files(path)]
    return [of_task for of_task in found if of_task is not None]


def _validate(runner: 'MultiTaskRunner', source: str) -> list[TaskPredictions]:
    """Evaluate the tasks that need thresholds on their validation splits."""
    metrics = _metrics(runner.tasks)
    names = [
        task.name
        for task in runner.tasks
        if task.name in metrics
        and metrics[task.name].takes_thresholds
        and (task.config.get('splits') or {}).get(VALIDATION)
    ]
    if not names:
        return []
    chosen = runner.tasks.only(names)
    loader = copy.deepcopy(runner.cfg.test_dataloader.to_dict())
    loader['dataset'].update(tasks=names, split=VALIDATION)
    loader['batch_sampler']['batch_sizes'] = chosen.batch_sizes
    loop = runner.build_test_loop(
        dict(
            runner.cfg.test_cfg,
            dataloader=loader,
            evaluator=chosen.evaluators(),
            tasks=None,
        )
    )
    _keep_records(loop)
    loop.run()
    return _collect(runner, loop, source)


def _task_metrics(loop: MultiTaskTestLoop) -> dict[str, TaskMetric]:
    """Return the metric of each task that fx_mm can report on."""
    return {
        name: metric
        for name, evaluator in loop.evaluators.items()
        for metric in evaluator.metrics
        if isinstance(metric, TaskMetric)
    }


def _keep_records(loop: MultiTaskTestLoop, keep_masks: bool = False) -> None:
    for metric in _task_metrics(loop).values():
        metric.kept = []
        metric.keep_masks = keep_masks


def _collect(
    runner: 'MultiTaskRunner', loop: MultiTaskTestLoop, source: str
) -> list[TaskPredictions]:
    """Return what the metrics kept, of each task and model."""
    metrics = _task_metrics(loop)
    found = []
    for dataset in loop.dataloader.dataset.datasets:
        task = dataset.task
        if task.name not in metrics:
            continue
        kept = metrics[task.name].kept or []
        patients = None
        for predict_on, (records, headlines) in zip(loop.predict_on, kept):
            img_ids = [record[0] for record in records]
            if patients is None:
                pattern = task.config.get('patient')
                patients = find_patients(
                    task, dataset.ann_file, img_ids, pattern
                )
            found.append(
                TaskPredictions(
                    task=task.meta,
                    predict_on=predict_on,
                    split=dataset.split,
                    records=records,
                    patients=patients,
                    config=osp.basename(runner.cfg.filename or ''),
                    checkpoint=source,
                    metrics=headlines,
                )
            )
    return found
