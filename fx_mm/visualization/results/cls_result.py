"""Probabilities of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.metrics.cls_metric import likeliest
from fx_mm.evaluation.statistics.bootstrap import unit_weights
from fx_mm.evaluation.statistics.calibration import Reliability, reliability
from fx_mm.evaluation.statistics.ranking import RankedScores
from fx_mm.registry import RESULTS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import draw_tile
from fx_mm.visualization.results.base import Marks, TaskResult, finite
from fx_mm.visualization.task_plots import line_style, name_axes
from fx_mm.visualization.tiles import (
    draw_probabilities,
    side_by_side,
    to_numpy,
)


@RESULTS.register_module()
@dataclass(frozen=True, eq=False)
class ClsResult(TaskResult):
    """Probabilities of the classes of a task.

    Args:
        task (Task): The task.
        scores (np.ndarray): Probabilities, float32 of shape (C,).
    """

    panels: ClassVar[int] = 3
    table: ClassVar[str] = 'probabilities.csv'
    task: Task
    scores: np.ndarray

    @property
    def probabilities(self) -> dict[str, float]:
        """dict: Probability by class."""
        return dict(zip(self.classes, map(float, self.scores), strict=True))

    @classmethod
    def from_sample(cls, task: Task, sample: FXDataSample) -> 'ClsResult':
        """Take ``pred_score``."""
        return cls(task, sample.pred_score.float().cpu().numpy())

    @classmethod
    def has_finding(cls, sample: FXDataSample) -> bool:
        """Whether a class is positive."""
        return bool(torch.nan_to_num(sample.gt_score).sum() > 0)

    @classmethod
    def mark_truth(
        cls, task: Task, sample: FXDataSample, names: Sequence[str]
    ) -> Marks:
        """List the positive classes, with a score that is not 1."""
        scores = dict(zip(task.classes, sample.gt_score.tolist()))
        present = {name: s for name, s in scores.items() if s > 0}
        labels = [n if s == 1 else f'{n} {s:.2g}' for n, s in present.items()]
        unknown = sum(np.isnan(list(scores.values())))
        text = ', '.join(labels) or 'no finding'
        text += f', {unknown} unknown' if unknown else ''
        return Marks(lines=[text])

    @classmethod
    def draw_beside_truth(
        cls,
        task: Task,
        sample: FXDataSample,
        image: np.ndarray,
        score_thr: float,
        size: int,
    ) -> np.ndarray:
        """Draw the image beside a bar per class, true ones in green."""
        bars = draw_probabilities(
            to_numpy(sample.pred_score),
            task.classes,
            truth=to_numpy(sample.gt_score),
            shape=(size, size),
        )
        return side_by_side(
            draw_tile(image, size=size),
            bars,
            f'{sample.task}  {sample.img_id}',
            '',
        )

    def draw(
        self, image: np.ndarray, score_thr: float, size: int
    ) -> np.ndarray:
        """Draw a bar per class."""
        return draw_probabilities(
            self.scores, self.classes, shape=(size, size)
        )

    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """dict: ``label_type``, and ``probabilities`` by class.

        They are None where they are not finite.
        """
        return dict(
            kind=self.task.kind.name,
            label_type=self.task.label_type,
            probabilities={
                name: finite(value)
                for name, value in self.probabilities.items()
            },
        )

    @classmethod
    def columns(cls, task: Task) -> list[str]:
        """Return a column per class."""
        return [f'{task.name}/{name}' for name in task.classes]

    def row(self) -> dict[str, str]:
        """Return the probabilities."""
        return {
            f'{self.task.name}/{name}': f'{value:.6f}'
            for name, value in self.probabilities.items()
        }

    @classmethod
    def plot(
        cls,
        axes: Sequence[Axes],
        metric: TaskMetric,
        records: list[Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Draw ROC, precision-recall and calibration."""
        labels, scores = metric.stack(records)
        roc, recall, calibration = axes
        for c, name in enumerate(metric.classes):
            known = ~np.isnan(labels[:, c])
            if not known.any() or not np.isfinite(scores[known, c]).all():
                continue
            ranked = RankedScores(labels[:, c], scores[:, c])
            ((true,), (false,)) = ranked.counts(unit_weights(len(labels)))
            style = line_style(c, len(metric.classes))
            if true[-1] and false[-1]:
                area = metrics[f'AUC/{name}']
                roc.plot(
                    np.append(0, false / false[-1]),
                    np.append(0, true / true[-1]),
                    label=f'{name} {area:.3f}',
                    **style,
                )
            if true[-1]:
                # the steps whose area is the average precision
                hits = np.diff(true, prepend=0) > 0
                recall.step(
                    np.append(0, true[hits] / true[-1]),
                    np.append(np.nan, (true / (true + false))[hits]),
                    where='pre',
                    label=f'{name} {metrics[f"AP/{name}"]:.3f}',
                    **style,
                )
            if not metric.multi_class:
                _draw_bins(
                    calibration,
                    reliability(scores[:, c], labels[:, c]),
                    name,
                    style,
                )
        if metric.multi_class:
            bins = reliability(*likeliest(labels, scores))
            _draw_bins(calibration, bins, 'likeliest class', line_style(0, 1))
        for ax in (roc, calibration):
            ax.plot([0, 1], [0, 1], color='0.7', lw=0.8, ls=':')
        name_axes(
            roc, 'ROC (AUC)', 'false positive rate', 'true positive rate'
        )
        name_axes(recall, 'precision-recall (AP)', 'recall', 'precision')
        name_axes(calibration, 'calibration (ECE)', 'probability', 'frequency')


def _draw_bins(
    ax: Axes, bins: Reliability, name: str, style: dict[str, Any]
) -> None:
    filled = bins.counts > 0
    ax.plot(
        bins.confidence[filled],
        bins.frequency[filled],
        marker='o',
        ms=3,
        label=f'{name} {bins.error:.3f}',
        **style,
    )
