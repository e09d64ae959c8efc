"""A picture of predictions beside the truth after each test."""

import os.path as osp
from collections import defaultdict

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook

from fx_mm.registry import HOOKS
from fx_mm.visualization import prediction_sheet


def has_finding(sample) -> bool:
    """Tell whether anything is annotated on a sample."""
    if 'gt_score' in sample:
        return bool(torch.nan_to_num(sample.gt_score).sum() > 0)
    if 'gt_sem_seg' in sample:
        return bool(sample.gt_sem_seg.data.any())
    return len(sample.gt_instances) > 0


@HOOKS.register_module()
class PredictionSheetHook(Hook):
    """Write ``predictions.png`` from a few test images of each task.

    Args:
        per_task (int): Images of each task. Those with findings come first,
            one is kept for an image without. Defaults to 4.
        score_thr (float): Boxes below it are not drawn. Defaults to 0.3.
    """

    def __init__(self, per_task: int = 4, score_thr: float = 0.3) -> None:
        self.per_task = per_task
        self.score_thr = score_thr

    def before_test(self, runner) -> None:
        """Start anew."""
        self._kept: dict = defaultdict(list)

    def after_test_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Keep the first images with findings, and one without."""
        for sample in outputs:
            finding = has_finding(sample)
            kept = self._kept[sample.task, finding]
            if any(sample.img_id == other.img_id for other in kept):
                continue
            if len(kept) < (self.per_task - 1 if finding else 1):
                kept.append(sample)

    @master_only
    def after_test_epoch(self, runner, metrics=None) -> None:
        """Draw what was kept."""
        datasets = runner.test_dataloader.dataset.datasets
        classes = {d.task.name: d.task.classes for d in datasets}
        samples = [
            sample
            for name in classes
            for finding in (True, False)
            for sample in self._kept[name, finding]
        ]
        path = osp.join(runner.work_dir, 'predictions.png')
        prediction_sheet(
            samples, classes, path, score_thr=self.score_thr, columns=3
        )
