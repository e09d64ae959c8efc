"""Thresholds of decisions, as a test chose them on validation images."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fx_mm.evaluation.report.results_file import (
    check_checkpoint,
    read_results,
)
from fx_mm.utils.errors import UserError

RESULTS = 'results.json'
HOW = (
    'run tools/test.py with --thresholds-from val and give its results.json '
    'with --thresholds'
)


class DecisionThresholds:
    """The thresholds of one checkpoint; none are known by default.

    Args:
        path (str, optional): The results.json. Defaults to None.
        values (Mapping, optional): Task to class to threshold. Defaults to
            none.
    """

    def __init__(
        self,
        path: str | None = None,
        values: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.path = path
        self.values = values or {}

    def of(self, task: str, name: str) -> float | None:
        """Return the threshold of a class, None if none was chosen."""
        return self.values.get(task, {}).get(name)


def read_thresholds(
    path: str | Path, checkpoint: str, predict_on: str
) -> DecisionThresholds:
    """Read ``threshold/<class>`` of a test's results.json.

    Args:
        path (str | Path): The file.
        checkpoint (str): Path of the checkpoint that predicts.
        predict_on (str): Whose predictions they are for.

    Returns:
        DecisionThresholds: Of all tasks in it.

    Raises:
        UserError: If the file is of another checkpoint, or holds no
            thresholds of this model.
    """
    content = read_results(path)
    check_checkpoint(content, path, checkpoint, HOW)
    metrics = content['metrics'].get(predict_on)
    values = {
        task: found
        for task, own in (metrics or {}).items()
        if (found := _of_task(own))
    }
    if not values:
        raise UserError(
            f'{path}: has no thresholds of the {predict_on}; {HOW}.'
        )
    return DecisionThresholds(str(path), values)


def find_thresholds(checkpoint: str, predict_on: str) -> DecisionThresholds:
    """Read the results.json beside a checkpoint, if it is of it.

    Returns:
        DecisionThresholds: Without any, where there is none.
    """
    path = Path(checkpoint).with_name(RESULTS)
    if '://' in checkpoint or not path.is_file():
        return DecisionThresholds()
    try:
        # a run of the same length has a checkpoint of the same name
        known = read_results(path).get('checkpoint_sha256')
        older = path.stat().st_mtime < Path(checkpoint).stat().st_mtime
        if older and not known:
            return DecisionThresholds()
        return read_thresholds(path, checkpoint, predict_on)
    except UserError:  # of another checkpoint, or of a test without them
        return DecisionThresholds()


def _of_task(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the thresholds of the classes that have one."""
    found = {}
    for key, value in metrics.items():
        kind, _, name = key.partition('/')
        if (
            kind == 'threshold'
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
        ):
            found[name] = float(value)
    return found
