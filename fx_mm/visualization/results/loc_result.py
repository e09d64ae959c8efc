"""Boxes with their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.statistics.bootstrap import unit_weights
from fx_mm.evaluation.statistics.box_matches import RECALLS, ClassMatches
from fx_mm.evaluation.statistics.froc import RATES
from fx_mm.registry import RESULTS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import color_of
from fx_mm.visualization.results.base import Marks, TaskResult, finite
from fx_mm.visualization.task_plots import line_style, name_axes
from fx_mm.visualization.tiles import box_tile, side_by_side, to_numpy


@RESULTS.register_module()
@dataclass(frozen=True, eq=False)
class LocResult(TaskResult):
    """Boxes of a task, the highest score first.

    Args:
        task (Task): The task.
        boxes (np.ndarray): x1, y1, x2, y2 in pixels of the original image,
            float32 of shape (n, 4).
        scores (np.ndarray): float32 of shape (n,).
        labels (np.ndarray): Indices into ``classes``, int64 of shape (n,).
    """

    panels: ClassVar[int] = 2
    task: Task
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @property
    def names(self) -> list[str]:
        """list[str]: Class name of each box."""
        return [self.classes[label] for label in self.labels]

    @classmethod
    def from_sample(cls, task: Task, sample: FXDataSample) -> 'LocResult':
        """Take ``pred_instances``."""
        found = sample.pred_instances
        found = found[torch.argsort(found.scores, descending=True)].cpu()
        return cls(
            task,
            boxes=found.bboxes.float().numpy(),
            scores=found.scores.float().numpy(),
            labels=found.labels.numpy(),
        )

    @classmethod
    def has_finding(cls, sample: FXDataSample) -> bool:
        """Whether there is a box."""
        return len(sample.gt_instances) > 0

    @classmethod
    def mark_truth(
        cls, task: Task, sample: FXDataSample, names: Sequence[str]
    ) -> Marks:
        """Mark the boxes."""
        truth, marks = sample.gt_instances, Marks()
        corners = getattr(truth.bboxes, 'tensor', truth.bboxes)
        for box, label in zip(corners.tolist(), truth.labels.tolist()):
            name = task.classes[label]
            marks.boxes.append((*box, name, color_of(name, names)))
        if not marks.boxes:
            marks.lines.append('no box')
        return marks

    @classmethod
    def draw_beside_truth(
        cls,
        task: Task,
        sample: FXDataSample,
        image: np.ndarray,
        score_thr: float,
        size: int,
    ) -> np.ndarray:
        """Draw true boxes in green and predicted ones in orange."""
        truth, pred = sample.gt_instances, cls.from_sample(task, sample)
        boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
        left = box_tile(
            image,
            to_numpy(boxes),
            to_numpy(truth.labels),
            task.classes,
            size=size,
        )
        count = int((pred.scores >= score_thr).sum())
        return side_by_side(
            left,
            pred.draw(image, score_thr, size),
            f'{sample.task}  {sample.img_id}',
            f'{count} boxes with score >= {score_thr:g}',
        )

    def draw(
        self, image: np.ndarray, score_thr: float, size: int
    ) -> np.ndarray:
        """Draw the boxes."""
        keep = self.scores >= score_thr
        return box_tile(
            image,
            self.boxes[keep],
            self.labels[keep],
            self.classes,
            scores=self.scores[keep],
            size=size,
        )

    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """dict: ``classes``; ``boxes`` of ``box``, ``score``, ``label``."""
        return dict(
            kind=self.task.kind.name,
            classes=list(self.classes),
            score_thr=score_thr,
            boxes=[
                dict(
                    box=[round(float(value), 2) for value in box],
                    score=finite(score),
                    label=name,
                )
                for box, score, name in zip(
                    self.boxes, self.scores, self.names, strict=True
                )
                if score >= score_thr
            ],
        )

    @classmethod
    def plot(
        cls,
        axes: Sequence[Axes],
        metric: TaskMetric,
        records: list[Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Draw precision-recall at IoU 0.40 and FROC."""
        recall, froc = axes
        every = unit_weights(len(records))
        records = metric.finite(records)
        curves = metric.froc(records)
        for c, name in enumerate(metric.classes):
            if not metrics[f'n_boxes/{name}']:
                continue
            style = line_style(c, len(metric.classes))
            matches = ClassMatches(
                records, c, np.array([0.4]), metric.max_boxes
            )
            recall.plot(
                RECALLS,
                matches.precisions(every)[0, 0],
                label=f'{name} {metrics[f"AP_40/{name}"]:.3f}',
                **style,
            )
            ((rates,), (found,)) = curves[c].curve(every)
            froc.step(
                [0, *rates, max(RATES)],
                [0, *found, found[-1] if len(found) else 0],
                where='post',
                label=f'{name} {metrics[f"FROC/{name}"]:.3f}',
                **style,
            )
        name_axes(
            recall, 'precision-recall at IoU 0.40 (AP)', 'recall', 'precision'
        )
        title = f'FROC, hit: IoU {metric.froc_iou:g} (mean of 7 rates)'
        name_axes(froc, title, 'false positives per image', 'sensitivity')
        froc.set_xscale('log', base=2)
        froc.set_xlim(RATES[0] / 2, RATES[-1])
        froc.set_xticks(RATES, [f'{rate:g}' for rate in RATES])
