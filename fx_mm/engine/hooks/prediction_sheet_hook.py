"""A picture of predictions beside the truth after each test."""

import os.path as osp
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.dist import master_only
from mmengine.hooks import Hook

from fx_mm.engine.pictures import record_picture
from fx_mm.registry import HOOKS
from fx_mm.structures import FXDataSample
from fx_mm.utils.checks import check_choice
from fx_mm.visualization.prediction_sheet import draw_prediction_sheet
from fx_mm.visualization.results import SCORE_THR, result_class

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


STAGES = ('val', 'test')


@HOOKS.register_module()
class PredictionSheetHook(Hook):
    """Write ``predictions.png`` from a few test images of each task.

    It goes to the visualizer's backends too, as ``predictions``. After a
    validation the file is ``predictions_val.png``, which the next one
    replaces; the backends keep all.

    Args:
        per_task (int): Images of each task. Those with findings come first,
            one is kept for an image without. Defaults to 4.
        score_thr (float): Boxes below it are not drawn. Defaults to 0.3.
        stages (Sequence[str]): After what: ``val``, ``test`` or both.
            Defaults to ('test',).

    Raises:
        UserError: If a stage is unknown.
    """

    def __init__(
        self,
        per_task: int = 4,
        score_thr: float = SCORE_THR,
        stages: Sequence[str] = ('test',),
    ) -> None:
        for stage in stages:
            check_choice('PredictionSheetHook.stages', stage, STAGES)
        self.per_task = per_task
        self.score_thr = score_thr
        self.stages = tuple(stages)
        self._kept: dict[tuple[str, bool], list[FXDataSample]]

    def before_val(self, runner: 'MultiTaskRunner') -> None:
        """Start from scratch."""
        self._kept = defaultdict(list)

    def before_test(self, runner: 'MultiTaskRunner') -> None:
        """Start from scratch."""
        self._kept = defaultdict(list)

    def after_val_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None,
        outputs: Sequence[FXDataSample],
    ) -> None:
        """Keep a few images, if they are asked for."""
        if 'val' in self.stages:
            self._keep(runner, outputs)

    def after_test_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None,
        outputs: Sequence[FXDataSample],
    ) -> None:
        """Keep a few images, if they are asked for."""
        if 'test' in self.stages:
            self._keep(runner, outputs)

    def _keep(
        self, runner: 'MultiTaskRunner', outputs: Sequence[FXDataSample]
    ) -> None:
        """Keep the first images with findings, and one without."""
        for sample in outputs:
            result = result_class(runner.tasks[sample.task])
            finding = result.has_finding(sample)
            kept = self._kept[sample.task, finding]
            if any(sample.img_id == other.img_id for other in kept):
                continue
            if len(kept) < (self.per_task - 1 if finding else 1):
                kept.append(sample)

    @master_only
    def after_val_epoch(
        self,
        runner: 'MultiTaskRunner',
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Draw what was kept of a validation."""
        if 'val' in self.stages:
            self._draw(runner, 'predictions_val')

    @master_only
    def after_test_epoch(
        self,
        runner: 'MultiTaskRunner',
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Draw what was kept of a test."""
        if 'test' in self.stages:
            self._draw(runner, 'predictions')

    def _draw(self, runner: 'MultiTaskRunner', name: str) -> None:
        samples = [
            sample
            for task in runner.tasks
            for finding in (True, False)
            for sample in self._kept[task.name, finding]
        ]
        path = osp.join(runner.work_dir, f'{name}.png')
        draw_prediction_sheet(
            samples, runner.tasks, path, score_thr=self.score_thr, columns=3
        )
        record_picture(runner, name, path)
