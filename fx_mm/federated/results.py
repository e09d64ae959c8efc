"""The results of all sites as one table."""

import math
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from fx_mm.evaluation.report.benchmark_table import BenchmarkTable
from fx_mm.evaluation.report.results_file import read_results, save_results
from fx_mm.tasks import TaskTable


def join_results(cfg: Config, folders: Iterable[Path]) -> list[Path]:
    """Write what the sites' tests found as one ``results.json``.

    Intervals and plots stay in the sites' own folders.

    Args:
        cfg (Config): The experiment's config, with all tasks.
        folders (Iterable[Path]): Of the sites.

    Returns:
        list[Path]: The files, in ``work_dir``; none if no site was tested.

    Raises:
        UserError: If a site's file cannot be read.
    """
    files = [folder / 'results.json' for folder in folders]
    contents = [read_results(file) for file in files if file.is_file()]
    if not contents:
        return []
    metrics = {
        f'{predictor}/{task}/{metric}': math.nan if value is None else value
        for content in contents
        for predictor, tasks in content['metrics'].items()
        for task, values in tasks.items()
        for metric, value in values.items()
    }
    found = {name for content in contents for name in content['tasks']}
    table = BenchmarkTable(
        [task for task in TaskTable.from_cfg(cfg) if task.name in found],
        metrics,
        predict_on=contents[0]['predict_on'],
        config=Path(cfg.filename or '').name,
        checkpoint=contents[0]['checkpoint'],
        split=contents[0]['split'],
    )
    for content in contents:
        table.skipped.update(content['skipped'])
        table.notes.update(content['notes'])
        for name, task in content['tasks'].items():
            table.n_images[name] = task['n_images']
    return save_results(table, cfg.work_dir)
