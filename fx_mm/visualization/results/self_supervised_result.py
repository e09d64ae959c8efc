"""What a model learned from images alone: hidden parts, neighbours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.metrics.neighbour_metric import NeighbourMetric
from fx_mm.registry import RESULTS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import draw_tile
from fx_mm.visualization.neighbours import draw_neighbours
from fx_mm.visualization.results.base import Marks, TaskResult, finite
from fx_mm.visualization.task_plots import name_axes
from fx_mm.visualization.tiles import side_by_side, to_numpy

DIMMED = 0.35
"""How bright the hidden parts are drawn in the picture of the truth."""


@RESULTS.register_module()
@dataclass(frozen=True, eq=False)
class SelfSupervisedResult(TaskResult):
    """The image with its hidden parts reconstructed, if any were hidden.

    Args:
        task (Task): The task.
        pixels (np.ndarray, optional): uint8 (h, w), the image as the model
            was given it, the hidden parts as it reconstructs them. Defaults
            to None: the model reconstructs nothing.
        error (float): Mean absolute error over hidden pixels, of the
            normalised image. Defaults to NaN.
        flat_error (float): The same of a grey square. Defaults to NaN.
    """

    panels: ClassVar[int] = 1
    task: Task
    pixels: np.ndarray | None = None
    error: float = math.nan
    flat_error: float = math.nan

    @classmethod
    def from_sample(
        cls, task: Task, sample: FXDataSample
    ) -> 'SelfSupervisedResult':
        """Take the reconstruction, if there is one."""
        if 'pred_pixels' not in sample:
            return cls(task)
        image, hidden = map(to_numpy, (sample.gt_pixels, sample.pred_hidden))
        drawn = np.where(hidden, to_numpy(sample.pred_pixels), image)
        return cls(
            task,
            _to_uint8(drawn, image),
            sample.pred_error.item(),
            sample.gt_flat_error.item(),
        )

    @classmethod
    def has_finding(cls, sample: FXDataSample) -> bool:
        """All images are alike: nothing is annotated."""
        return True

    @classmethod
    def mark_truth(
        cls, task: Task, sample: FXDataSample, names: Sequence[str]
    ) -> Marks:
        """Mark nothing."""
        return Marks()

    @classmethod
    def draw_beside_truth(
        cls,
        task: Task,
        sample: FXDataSample,
        image: np.ndarray,
        score_thr: float,
        size: int,
    ) -> np.ndarray:
        """Draw the image, hidden parts dark, beside their reconstruction."""
        result = cls.from_sample(task, sample)
        left = f'{sample.task}  {sample.img_id}'
        if result.pixels is None:
            tile = result.draw(image, score_thr, size)
            return side_by_side(tile, np.zeros_like(tile), left, 'none')
        pixels, hidden = map(to_numpy, (sample.gt_pixels, sample.pred_hidden))
        truth = _to_uint8(pixels, pixels)
        truth = np.where(hidden, truth * DIMMED, truth).astype(np.uint8)
        return side_by_side(
            draw_tile(truth, size=size),
            result.draw(image, score_thr, size),
            left,
            '',
        )

    def draw(
        self, image: np.ndarray, score_thr: float, size: int
    ) -> np.ndarray:
        """Draw the reconstruction, its error below; else the image."""
        if self.pixels is None:
            return draw_tile(image, size=size)
        line = f'L1 {self.error:.3f}, of grey squares {self.flat_error:.3f}'
        return draw_tile(self.pixels, caption_lines=[line], size=size)

    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """dict: ``masked_L1``, and ``grey_L1``, that of a grey square."""
        if self.pixels is None:
            return dict(kind=self.task.kind.name)
        return dict(
            kind=self.task.kind.name,
            masked_L1=finite(self.error),
            grey_L1=finite(self.flat_error),
        )

    @classmethod
    def plot(
        cls,
        axes: Sequence[Axes],
        metric: TaskMetric,
        records: list[Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Draw errors over those of grey squares, or nearest neighbours."""
        (ax,) = axes
        if isinstance(metric, NeighbourMetric):
            draw_neighbours(ax, metric, records)
            return
        pairs = [(r.flat_error, r.error) for r in records]
        label = f'skill {metrics["skill"]:.3f}'
        ax.plot(*zip(*pairs), 'o', ms=2.5, alpha=0.5, label=label)
        name_axes(ax, 'masked L1', 'of a grey square', 'of the model')
        ax.autoscale()
        ax.axline((0, 0), slope=1, color='0.7', lw=0.8, ls=':')


def _to_uint8(pixels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Scale pixels so that those of an image fill 0..255."""
    low, high = float(image.min()), float(image.max())
    scaled = (pixels - low) * (255 / max(high - low, 1e-6))
    return np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
