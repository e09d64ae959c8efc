"""Curves and histograms of a test, one picture per task."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.registry import RESULTS
from fx_mm.tasks import find_kind
from fx_mm.visualization.contact_sheet import PALETTE, line_color
from fx_mm.visualization.panels import make_panels
from fx_mm.visualization.text import font_families, printable

SHOWN = 20
"""Classes in a legend; more are drawn without a name."""


def plot_task(
    metric: TaskMetric,
    records: list[Any],
    metrics: dict[str, float],
    title: str,
    out_file: str | Path,
) -> Path | None:
    """Draw the curves and histograms behind the metrics of a task.

    See ``plot`` of the kind's result: ROC, precision-recall and calibration
    of labels, precision-recall at IoU 0.40 and FROC of boxes, a histogram of
    Dice of masks.

    Args:
        metric (TaskMetric): The task's metric.
        records (list): What it kept, one per image.
        metrics (dict[str, float]): Its metrics, for the legends.
        title (str): Text above the plots.
        out_file (str | Path): The picture.

    Returns:
        Path, optional: ``out_file``; None where the kind has no plots.
    """
    result = RESULTS.get(find_kind(metric.dataset_meta['kind']).result)
    panels = result.panels
    if not panels:
        return None
    figure, ((*axes,),) = make_panels(1, panels, 4.6, 4.1, head=0.3)
    figure.suptitle(f'{title}, {len(records)} images', fontsize=10)
    result.plot(axes, metric, records, metrics)
    for ax in axes:
        _finish(ax)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=100)
    return out_file


def name_axes(ax: Axes, title: str, x: str, y: str) -> None:
    """Name a plot and its axes, which go from 0 to 1."""
    ax.set_title(title, fontsize=9)
    ax.set_xlabel(x, fontsize=8)
    ax.set_ylabel(y, fontsize=8)
    ax.set_xlim(0, 1)
    if y != 'images':
        ax.set_ylim(0, 1.01)


def line_style(c: int, n_classes: int) -> dict[str, Any]:
    """Return colour, width and dashes of a class."""
    dashed = c // len(PALETTE) % 2
    return dict(color=line_color(c), lw=1.2, ls='--' if dashed else '-')


def _finish(ax: Axes) -> None:
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=7)
    handles, names = ax.get_legend_handles_labels()
    if handles:
        names = [printable(name) for name in names[:SHOWN]]
        fonts = dict(family=font_families(names), size=6)
        legend = ax.legend(handles[:SHOWN], names, prop=fonts, framealpha=0.7)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may have dollars
    else:
        ax.text(
            0.5,
            0.5,
            'undefined',
            ha='center',
            fontsize=8,
            transform=ax.transAxes,
        )
