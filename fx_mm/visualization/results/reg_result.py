"""Numbers of targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.registry import RESULTS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.results.base import Marks, finite
from fx_mm.visualization.results.lined_result import LinedResult
from fx_mm.visualization.task_plots import line_style, name_axes
from fx_mm.visualization.tiles import to_numpy

AGREEMENT = 1.96
"""Standard deviations that limits of agreement are from the bias."""


@RESULTS.register_module()
@dataclass(frozen=True, eq=False)
class RegResult(LinedResult):
    """Numbers of the targets of a task.

    Args:
        task (Task): The task.
        values (np.ndarray): float32 of shape (C,), in the unit of each
            target.
        std (np.ndarray, optional): Their predicted standard deviations.
            Defaults to None: the model predicts none.
    """

    panels: ClassVar[int] = 2
    table: ClassVar[str] = 'values.csv'
    task: Task
    values: np.ndarray
    std: np.ndarray | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """dict: Number by target."""
        return dict(zip(self.classes, map(float, self.values), strict=True))

    @classmethod
    def from_sample(cls, task: Task, sample: FXDataSample) -> 'RegResult':
        """Take ``pred_value`` and ``pred_std``."""
        std = to_numpy(sample.pred_std) if 'pred_std' in sample else None
        return cls(task, to_numpy(sample.pred_value), std)

    @classmethod
    def has_finding(cls, sample: FXDataSample) -> bool:
        """Whether a target is known."""
        return not bool(sample.gt_value.isnan().all())

    @classmethod
    def mark_truth(
        cls, task: Task, sample: FXDataSample, names: Sequence[str]
    ) -> Marks:
        """List the numbers that are known."""
        values = to_numpy(sample.gt_value)
        return Marks(lines=[*_lines(task.classes, values)])

    @property
    def lines(self) -> list[Any]:
        """list[str]: One per target."""
        return _lines(self.classes, self.values, self.std)

    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """dict: ``values`` by target, ``std`` alike if predicted."""
        content = dict(
            kind=self.task.kind.name,
            values={name: finite(v) for name, v in self.numbers.items()},
        )
        if self.std is not None:
            content['std'] = dict(zip(self.classes, map(finite, self.std)))
        return content

    @classmethod
    def columns(cls, task: Task) -> list[str]:
        """Return a column per target."""
        return [f'{task.name}/{name}' for name in task.classes]

    def row(self) -> dict[str, str]:
        """Return the numbers."""
        return {
            f'{self.task.name}/{name}': f'{value:.6g}'
            for name, value in self.numbers.items()
        }

    @classmethod
    def plot(
        cls,
        axes: Sequence[Axes],
        metric: TaskMetric,
        records: list[tuple[Any, ...]],
        metrics: Mapping[str, float],
    ) -> None:
        """Draw predictions over the truth, and their agreement.

        Several targets share the plots in standard deviations of their truth.
        """
        scatter, agreement = axes
        truths, preds = metric.stack(records)
        several = len(metric.classes) > 1
        ends = []
        for c, name in enumerate(metric.classes):
            known = ~np.isnan(truths[:, c]) & np.isfinite(preds[:, c])
            truth, pred = truths[known, c], preds[known, c]
            if not truth.size:
                continue
            if several:
                mean, std = truth.mean(), truth.std() or 1.0
                truth, pred = (truth - mean) / std, (pred - mean) / std
            ends += [*truth, *pred]
            color = line_style(c, len(metric.classes))['color']
            dots = dict(color=color, ls='', marker='o', ms=2.5, alpha=0.5)
            label = f'{name} {metrics[f"R2/{name}"]:.3f}'
            scatter.plot(truth, pred, label=label, **dots)
            gap = pred - truth
            bias, limit = gap.mean(), AGREEMENT * gap.std()
            label = f'{name} {bias:.3g} ± {limit:.3g}'
            agreement.plot((truth + pred) / 2, gap, label=label, **dots)
            for height, style in ((0, '-'), (limit, '--'), (-limit, '--')):
                line = dict(color=color, ls=style, lw=1.0)
                agreement.axhline(bias + height, **line)
        unit = ', standard deviations' if several else ''
        name_axes(
            scatter,
            'prediction over truth (R2)',
            f'true{unit}',
            f'predicted{unit}',
        )
        name_axes(
            agreement,
            f'Bland-Altman (bias ± {AGREEMENT} SD)',
            f'mean of both{unit}',
            'predicted - true',
        )
        for ax in axes:
            ax.autoscale()
        if ends:
            low, high = min(ends), max(ends)
            scatter.plot([low, high], [low, high], color='0.7', lw=0.8, ls=':')
        agreement.axhline(0, color='0.7', lw=0.8, ls=':')


def _lines(
    names: Sequence[str], values: np.ndarray, std: np.ndarray | None = None
) -> list[str]:
    """Write one line per target, the number first."""
    texts = ['unknown' if np.isnan(v) else f'{v:.4g}' for v in values]
    if std is not None:
        texts = [f'{text} ± {s:.2g}' for text, s in zip(texts, std)]
    return [f'{text} {name}' for name, text in zip(names, texts)]
