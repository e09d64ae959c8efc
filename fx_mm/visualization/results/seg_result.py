"""Masks."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.registry import RESULTS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import UNKNOWN, color_of
from fx_mm.visualization.results.base import Marks, TaskResult
from fx_mm.visualization.task_plots import line_style, name_axes
from fx_mm.visualization.tiles import (
    mask_tile,
    save_picture,
    side_by_side,
    to_numpy,
)

DICE_BINS = np.linspace(0, 1, 21)


@RESULTS.register_module()
@dataclass(frozen=True, eq=False)
class SegResult(TaskResult):
    """Masks of a task; they may overlap.

    Args:
        task (Task): The task.
        masks (np.ndarray): bool of shape (C, H, W), in pixels of the
            original image, one channel per class.
    """

    panels: ClassVar[int] = 1
    task: Task
    masks: np.ndarray

    @classmethod
    def from_sample(cls, task: Task, sample: FXDataSample) -> 'SegResult':
        """Take ``pred_sem_seg``."""
        return cls(task, to_numpy(sample.pred_sem_seg.data) > 0)

    @classmethod
    def has_finding(cls, sample: FXDataSample) -> bool:
        """Whether any mask is not empty."""
        return bool(sample.gt_sem_seg.data.any())

    @classmethod
    def mark_truth(
        cls, task: Task, sample: FXDataSample, names: Sequence[str]
    ) -> Marks:
        """Mark the masks that are not empty, and ignored pixels."""
        marks = Marks()
        legend = []
        for name, mask in zip(task.classes, sample.gt_sem_seg.data.numpy()):
            if mask.any():
                color = color_of(name, names)
                marks.masks.append((mask, color))
                legend.append((name, color))
        ignored = _ignored(sample)
        if ignored is not None:
            marks.ignored = np.asarray(ignored.any(0))
            legend.append(('ignored', UNKNOWN))
        marks.lines = [legend or 'no mask']
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
        """Draw masks in one colour per class, with Dice.

        Pixels that nobody annotated are striped, and in no Dice.
        """
        truth = to_numpy(sample.gt_sem_seg.data) > 0
        pred = to_numpy(sample.pred_sem_seg.data) > 0
        ignored = _ignored(sample)
        counted = True if ignored is None else ~ignored
        notes = _dice_notes(truth & counted, pred & counted, task.classes)
        return side_by_side(
            mask_tile(image, truth, task.classes, size=size, ignored=ignored),
            mask_tile(image, pred, task.classes, notes=notes, size=size),
            f'{sample.task}  {sample.img_id}',
            'with Dice',
        )

    def draw(
        self, image: np.ndarray, score_thr: float, size: int
    ) -> np.ndarray:
        """Draw the masks."""
        return mask_tile(image, self.masks, self.classes, size=size)

    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """dict: ``masks`` by class: ``area`` in original pixels, ``file``."""
        files = files or {}
        return dict(
            kind=self.task.kind.name,
            masks={
                name: dict(
                    area=int(np.count_nonzero(mask)), file=files.get(name)
                )
                for name, mask in zip(self.classes, self.masks, strict=True)
            },
        )

    def save_files(self, folder: Path) -> dict[str, str]:
        """Write one PNG of 0 and 255 per class."""
        files = {}
        for index, (name, mask) in enumerate(
            zip(self.classes, self.masks, strict=True)
        ):
            label = f'{self.task.name}_{index:02d}_{name}'
            files[name] = re.sub(r'\W+', '_', label) + '.png'
            save_picture(mask.astype('uint8') * 255, folder / files[name])
        return files

    @classmethod
    def plot(
        cls,
        axes: Sequence[Axes],
        metric: TaskMetric,
        records: list[Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Draw a histogram of the Dice of images that have the class."""
        (ax,) = axes
        dice, present = metric.dice(records), metric.present(records)
        for c, name in enumerate(metric.classes):
            own = dice[present[:, c], c]
            if own.size:
                mean = metrics[f'Dice_pos/{name}']
                counts, _ = np.histogram(own, DICE_BINS)
                ax.stairs(
                    counts,
                    DICE_BINS,
                    label=f'{name} {mean:.3f} (n = {own.size})',
                    **line_style(c, len(metric.classes)),
                )
        name_axes(ax, 'images that have the class (mean)', 'Dice', 'images')


def _ignored(sample: FXDataSample) -> np.ndarray | None:
    """Return which pixels nobody annotated, bool (1 or C, H, W), or None."""
    ignored = sample.gt_sem_seg.get('ignore')
    return None if ignored is None else to_numpy(ignored) > 0


def _dice_notes(
    truth: np.ndarray, pred: np.ndarray, classes: Sequence[str]
) -> dict[str, str]:
    notes = {}
    for name, mask, guess in zip(classes, truth, pred, strict=True):
        total = mask.sum() + guess.sum()
        if total:
            notes[name] = f'{2 * (mask & guess).sum() / total:.2f}'
    return notes
