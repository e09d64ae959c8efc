"""Training curves of all tasks as one picture."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from fx_mm.tasks import MEAN, all_kinds, find_kind, split_name, task_of
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.visualization.contact_sheet import line_color
from fx_mm.visualization.panels import make_panels

MAIN_LOSS = re.compile(r'(?:(lock\w*|val)/)?(loss(?:_\w+)?)')
"""A task's loss and its parts in lock and release passes and in validations,
but not those of DINO's inner layers, its denoising and its encoder."""
MAX_PARTS = 4
TASKS_PER_ROW = 2

Curve = list[tuple[float, float]]
Panels = tuple[dict[str, Curve], dict[tuple[str, str], Curve]]
"""Losses by name; metrics by name and model."""


def plot_curves(
    scalars: str | Path | Sequence[str | Path],
    out_file: str | Path,
    predict_on: str = PREDICTORS[0],
) -> Path:
    """Draw the losses and the metrics of every task.

    A task has two panels: its loss in release passes (black, with the
    largest parts of it, where they were measured in validations too: dotted)
    and in lock passes (grey), and its headline metric, teacher solid and
    student dashed. The horizontal axis is the iteration.
    All losses and metrics are in ``scalars``.

    Args:
        scalars (str | Path | Sequence): ``vis_data/scalars.json`` of
            mmengine's LocalVisBackend, one JSON object per line, or several
            of them (a resumed run writes one each time; where they
            overlap, the later file counts).
        out_file (str | Path): The picture, e.g. ``curves.png``.
        predict_on (str): The model whose metrics have no name in front.
            Defaults to the first of ``PREDICTORS``.

    Returns:
        Path: ``out_file``.

    Raises:
        UserError: If a file is missing or holds no curve of a task.
    """
    if isinstance(scalars, str | Path):
        scalars = [scalars]
    curves = read_scalars(scalars)
    panels = _by_task(curves, predict_on)
    if not panels:
        raise UserError(
            f'{", ".join(map(str, scalars))}: no loss or metric of a task '
            'in it (e.g. "nih14/cls/loss"); give the scalars.json of a '
            'training run.'
        )

    per_row = min(TASKS_PER_ROW, len(panels))
    n_rows = -(-len(panels) // per_row)
    figure, axes = make_panels(n_rows, 2 * per_row, 4, 2.6)
    for ax in axes.flat:
        ax.set_visible(False)
    parts = sorted(
        {n for losses, _ in panels.values() for n in _parts(losses)}
    )
    colors = {name: line_color(i) for i, name in enumerate(parts)}
    for index, (task, (losses, metrics)) in enumerate(panels.items()):
        row, column = divmod(index, per_row)
        _draw_losses(axes[row, 2 * column], task, losses, colors)
        _draw_metrics(axes[row, 2 * column + 1], task, metrics)
    last = max(ax.get_xlim()[1] for ax in axes.flat if ax.lines)
    for ax in axes.flat:
        ax.set_xlim(0, last)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=100)
    return out_file


def read_scalars(files: Iterable[str | Path]) -> dict[str, Curve]:
    """Read scalars by name.

    Args:
        files (Iterable[str | Path]): scalars.json files, oldest first.

    Returns:
        dict[str, list[tuple]]: ``(step, value)`` by name, sorted by step;
        values that are not finite are skipped.

    Raises:
        UserError: If a file does not exist.
    """
    points: dict[str, dict[float, float]] = {}
    for file in map(Path, files):
        if not file.is_file():
            raise UserError(
                f'{file} does not exist; give the vis_data/scalars.json of a '
                'training run.'
            )
        for line in file.read_text(encoding='utf-8').splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # a killed run leaves half a line
            for name, value in record.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    step = record.get('step', 0)
                    points.setdefault(name, {})[step] = value
    return {name: sorted(curve.items()) for name, curve in points.items()}


def _by_task(curves: dict[str, Curve], predict_on: str) -> dict[str, Panels]:
    """Sort curves into (losses, metrics) of each task, in order of names."""
    kinds = {kind.name: kind for kind in all_kinds()}
    tasks: dict[str, Panels] = {}
    for name, curve in curves.items():
        owner, key = predict_on, name
        head, rest = split_name(name)
        if head in PREDICTORS and rest.count('/') > 1:
            owner, key = head, rest
        task = task_of(key)
        metric = key.removeprefix(f'{task}/')
        kind = kinds.get(split_name(task)[1])
        mean = split_name(task)[0] == MEAN
        if kind is None or mean or metric == key:
            continue
        losses, metrics = tasks.setdefault(task, ({}, {}))
        if metric in kind.curves:
            metrics[metric, owner] = curve
        elif MAIN_LOSS.fullmatch(metric) and owner == predict_on:
            losses[metric] = curve
    return {
        task: panel
        for task, panel in sorted(tasks.items())
        if panel[0] or panel[1]
    }


def _draw_losses(
    ax: Axes, task: str, losses: dict[str, Curve], colors: dict[str, Any]
) -> None:
    ax.set_visible(True)
    ax.set_title(f'{task}: loss', fontsize=9)
    styles: dict[str, dict[str, Any]] = {}
    if 'loss' in losses:
        styles['loss'] = dict(label='total', color='black', lw=1.8, zorder=3)
    largest = sorted(_parts(losses), key=lambda name: -losses[name][0][1])
    for name in largest[:MAX_PARTS]:
        styles[name] = dict(label=name, color=colors[name], lw=0.9)
        if f'val/{name}' in losses:
            styles[f'val/{name}'] = dict(
                label=f'{name}, validation',
                color=colors[name],
                lw=1.2,
                ls=':',
            )
    for name in losses:
        # the total of a validation lacks what is of training alone
        if name.endswith('/loss') and name != 'val/loss':
            label = f'total, {name.removesuffix("/loss")} passes'
            styles[name] = dict(label=label, color='0.55', lw=1.4, ls='--')
    for name, style in styles.items():
        steps, values = zip(*losses[name], strict=True)
        ax.plot(steps, values, marker='.', ms=3, **style)
    _finish(ax)
    ax.set_ylim(bottom=0)


def _parts(losses: Iterable[str]) -> list[str]:
    """Return the parts of the loss in release passes."""
    return [name for name in losses if name != 'loss' and '/' not in name]


def _draw_metrics(
    ax: Axes, task: str, metrics: dict[tuple[str, str], Curve]
) -> None:
    ax.set_visible(True)
    ax.set_title(f'{task}: validation', fontsize=9)
    worthy = find_kind(split_name(task)[1]).curves
    headline = min((name for name, _ in metrics), key=worthy.index, default='')
    lowest = 0.0
    for (metric, owner), curve in metrics.items():
        if metric != headline:
            continue
        steps, values = zip(*curve, strict=True)
        ax.plot(
            steps,
            values,
            color=line_color(2),
            ls='-' if owner == 'teacher' else '--',
            lw=1.4,
            marker='o',
            ms=2.5,
            label=f'{metric}, {owner}',
        )
        lowest = min(lowest, *values)
    _finish(ax)
    # an R2 begins far below 0, where its value says little
    ax.set_ylim(max(lowest, -1), 1)


def _finish(ax: Axes) -> None:
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=7)
    ax.set_xlabel('iteration', fontsize=7)
    if ax.lines:
        ax.legend(fontsize=6, framealpha=0.7, handlelength=3)
    else:
        ax.text(0.5, 0.5, 'not recorded', ha='center', fontsize=8)
