"""The closing table, curves and pictures of a training or a test."""

import glob
import os.path as osp

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from ..evaluation.table import BenchmarkTable
from ..tasks import TaskTable
from ..utils.checkpoint import find_checkpoint
from ..visualization.curves import plot_curves


def write_report(runner: Runner, checkpoint: str = '') -> dict:
    """Evaluate with the test loop and write what came out.

    Prints the table of datasets by kinds and writes, into the work
    directory, ``results.json``, ``results.csv`` and ``results.md``, the
    curves of a training (``curves.png``), and, by the prediction sheet hook,
    ``predictions.png``.

    Args:
        runner (Runner): After training, or built for a test.
        checkpoint (str): Where the weights are from. Defaults to the newest
            of the work directory.

    Returns:
        dict: The metrics.
    """
    metrics = runner.test()
    if not is_main_process():
        return metrics
    table = BenchmarkTable(
        list(TaskTable.from_cfg(runner.cfg)),
        metrics,
        weights=runner.test_loop.weights[0],
        config=osp.basename(runner.cfg.filename or ''),
        checkpoint=osp.basename(
            checkpoint or find_checkpoint(runner.work_dir) or ''
        ),
    )
    runner.logger.info('\n' + table.text())
    table.save(runner.work_dir)
    # A resumed run has a log folder for each of its parts.
    folder = (
        osp.join(runner.work_dir, '*') if runner._resume else (runner.log_dir)
    )
    pattern = osp.join(folder, 'vis_data', 'scalars.json')
    scalars = sorted(glob.glob(pattern))
    if scalars:
        plot_curves(scalars, osp.join(runner.work_dir, 'curves.png'))
    runner.logger.info(f'The report is in {runner.work_dir}')
    return metrics
