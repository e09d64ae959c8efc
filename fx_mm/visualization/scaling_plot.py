"""Errors against training images and parameters, with fitted power laws."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter

COLORS = ('#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#8c564b')
Entry = Mapping[str, Any]


def plot_scaling(content: Entry, out_file: str | Path) -> Path:
    """Draw the curves of a scaling report on logarithmic axes.

    A row per pretraining has its error against the training images, one
    colour per size of the model; a last row has it against the parameters of
    the backbone on the largest share, one colour per pretraining. A dot is a
    seed, a line the fitted law, a dashed one the model without pretraining.

    Args:
        content (Mapping): Of a scaling report, as in its JSON.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    targets, methods = list(content['targets']), content['methods']
    sizes = list(content['parameters'])
    rows: list[tuple[str, str, list[Entry]]] = []
    for method in methods:
        own = [f for f in content['fits'] if f['method'] == method]
        rows.append(
            (
                f'{method}: training images',
                'at',
                [f for f in own if f['along'] == 'images'],
            )
        )
    largest = content['shares'][-1]
    rows.append(
        (
            f'parameters of the backbone ({largest})',
            'method',
            [
                f
                for f in content['fits']
                if f['along'] == 'parameters' and f['at'] == largest
            ],
        )
    )
    rows = [row for row in rows if row[2]]
    figure = Figure(
        figsize=(1 + 3.4 * len(targets), 0.6 + 2.7 * len(rows)),
        layout='constrained',
    )
    axes = figure.subplots(len(rows), len(targets), squeeze=False)
    for line, (title, key, fits) in zip(axes, rows):
        names = sizes if key == 'at' else methods
        for ax, target in zip(line, targets):
            own = [fit for fit in fits if fit['target'] == target]
            if not any(fit['seeds'] for fit in own):
                ax.set_axis_off()
                ax.text(0.5, 0.5, 'no curve is finished', ha='center')
                continue
            for fit in own:
                color = COLORS[names.index(fit[key]) % len(COLORS)]
                _curve(ax, fit, color, fit[key])
            if key == 'at':
                _baselines(ax, content, target, sizes)
            _finish(ax, content['targets'][target]['metric'], title)
    for ax, target in zip(axes[0], targets):
        entry = content['targets'][target]
        ax.set_title(f'{target}: {entry["how"]}\n{entry["task"]}', fontsize=9)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=110)
    return out_file


def _curve(ax: Axes, fit: Entry, color: str, name: str) -> None:
    """Draw the seeds and the law of one curve."""
    if not fit['seeds']:
        return
    x = np.array([point['x'] for point in fit['points']])
    for at, point in zip(x, fit['points']):
        errors = [e for e in point['errors'] if e]
        ax.plot([at] * len(errors), errors, '.', color=color, alpha=0.5, ms=5)
    exponent = fit['exponent']
    if exponent['value'] is None:
        return
    label = f'{name}: b = {exponent["value"]:.3f}'
    if exponent['low'] is not None:
        label += f' [{exponent["low"]:.2f}, {exponent["high"]:.2f}]'
    ends = np.array([x.min(), x.max()])
    law = math.exp(fit['intercept']) * ends ** -exponent['value']
    ax.plot(ends, law, color=color, lw=1.3, label=label)


def _baselines(
    ax: Axes, content: Entry, target: str, sizes: Sequence[str]
) -> None:
    """Draw the models without pretraining, which are in no fit."""
    for each in content['results']:
        value = each['metric']['value']
        alone = not each['data'] and each['target'] == target
        if alone and value is not None:
            color = COLORS[sizes.index(each['size']) % len(COLORS)]
            ax.axhline(1 - value, color=color, lw=0.9, ls='--')


def _finish(ax: Axes, metric: str, title: str) -> None:
    ax.set(xscale='log', yscale='log')
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(LogFormatter())
    low, high = ax.get_ylim()
    # within a decade no power of ten may be there
    ticks = np.geomspace(low, high, 5)
    ax.set_yticks(ticks, [f'{tick:.3g}' for tick in ticks])
    ax.tick_params(labelsize=7)
    ax.set_xlabel(title, fontsize=8)
    ax.set_ylabel(f'1 - {metric}', fontsize=8)
    ax.grid(alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=6.5)
