"""Curves and histograms of a test, one picture a task."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fx_mm.evaluation.metrics.base import TaskMetric, ones
from fx_mm.evaluation.metrics.cls_metric import likeliest
from fx_mm.evaluation.statistics.calibration import reliability
from fx_mm.evaluation.statistics.froc import RATES
from fx_mm.evaluation.statistics.matching import RECALLS, ClassMatches
from fx_mm.evaluation.statistics.ranking import RankedScores
from fx_mm.visualization.contact_sheet import PALETTE

SHOWN = 20
"""Classes in a legend; more are drawn without a name."""
DICE_BINS = np.linspace(0, 1, 21)


def plot_task(
    metric: TaskMetric,
    records: list,
    metrics: dict[str, float],
    title: str,
    out_file: str | Path,
) -> Path:
    """Draw what is behind the metrics of a task.

    Classification: ROC, precision-recall and calibration. Localization:
    precision-recall at IoU 0.40 and FROC. Segmentation: histogram of the
    Dice of the images that have the class.

    Args:
        metric (TaskMetric): The task's metric.
        records (list): What it kept, one an image.
        metrics (dict[str, float]): Its metrics, for the legends.
        title (str): Stands above all.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    kind = metric.dataset_meta['kind']
    panels = dict(cls=3, loc=2, seg=1)[kind]
    figure = Figure(figsize=(4.6 * panels, 4.4), layout='constrained')
    axes = figure.subplots(1, panels, squeeze=False)[0]
    figure.suptitle(f'{title}, {len(records)} images', fontsize=10)
    dict(cls=_draw_cls, loc=_draw_loc, seg=_draw_seg)[kind](
        axes, metric, records, metrics
    )
    for ax in axes:
        _finish(ax)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=100)
    return out_file


def _draw_cls(axes, metric, records: list, metrics: dict) -> None:
    labels, scores = metric.stack(records)
    roc, recall, calibration = axes
    for c, name in enumerate(metric.classes):
        known = ~np.isnan(labels[:, c])
        if not known.any() or not np.isfinite(scores[known, c]).all():
            continue
        ranked = RankedScores(labels[:, c], scores[:, c])
        ((true,), (false,)) = ranked.counts(ones(len(labels)))
        style = _style(c, len(metric.classes))
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
        _draw_bins(calibration, bins, 'likeliest class', _style(0, 1))
    for ax in (roc, calibration):
        ax.plot([0, 1], [0, 1], color='0.7', lw=0.8, ls=':')
    _name(roc, 'ROC (AUC)', 'false positive rate', 'true positive rate')
    _name(recall, 'precision-recall (AP)', 'recall', 'precision')
    _name(calibration, 'calibration (ECE)', 'probability', 'frequency')


def _draw_bins(ax: Axes, bins, name: str, style: dict) -> None:
    filled = bins.counts > 0
    ax.plot(
        bins.confidence[filled],
        bins.frequency[filled],
        marker='o',
        ms=3,
        label=f'{name} {bins.error:.3f}',
        **style,
    )


def _draw_loc(axes, metric, records: list, metrics: dict) -> None:
    recall, froc = axes
    every = ones(len(records))
    records = metric.finite(records)
    curves = metric.froc(records)
    for c, name in enumerate(metric.classes):
        if not metrics[f'n_boxes/{name}']:
            continue
        style = _style(c, len(metric.classes))
        matches = ClassMatches(records, c, np.array([0.4]), metric.max_boxes)
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
    _name(recall, 'precision-recall at IoU 0.40 (AP)', 'recall', 'precision')
    title = f'FROC, hit: IoU {metric.froc_iou:g} (mean of 7 rates)'
    _name(froc, title, 'false positives an image', 'sensitivity')
    froc.set_xscale('log', base=2)
    froc.set_xlim(RATES[0] / 2, RATES[-1])
    froc.set_xticks(RATES, [f'{rate:g}' for rate in RATES])


def _draw_seg(axes, metric, records: list, metrics: dict) -> None:
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
                **_style(c, len(metric.classes)),
            )
    _name(ax, 'images that have the class (mean)', 'Dice', 'images')


def _name(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=9)
    ax.set_xlabel(x, fontsize=8)
    ax.set_ylabel(y, fontsize=8)
    ax.set_xlim(0, 1)
    if y != 'images':
        ax.set_ylim(0, 1.01)


def _style(c: int, n_classes: int) -> dict:
    color = tuple(0.8 * v / 255 for v in PALETTE[c % len(PALETTE)])
    dashed = c // len(PALETTE) % 2
    return dict(color=color, lw=1.2, ls='--' if dashed else '-')


def _finish(ax: Axes) -> None:
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=7)
    handles, names = ax.get_legend_handles_labels()
    if handles:
        ax.legend(handles[:SHOWN], names[:SHOWN], fontsize=6, framealpha=0.7)
    else:
        ax.text(
            0.5,
            0.5,
            'undefined',
            ha='center',
            fontsize=8,
            transform=ax.transAxes,
        )
