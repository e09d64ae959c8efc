"""How the tasks' gradients on the shared parts agree, as one picture."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fx_mm.evaluation.statistics.gradient_conflict import GradientConflict

COLUMNS = 4


def plot_conflict(conflict: GradientConflict, out_file: str | Path) -> Path:
    """Draw the norms by part, and cosines where two tasks or more meet.

    A cosine whose 95 % interval holds 0 is grey on white; one that cannot be
    told from the noise, or has no interval, is left out.

    Args:
        conflict (GradientConflict): What was measured.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    parts = list(conflict.products)
    met = [part for part in parts if len(conflict.reached(part)) > 1]
    side = 1.6 + 0.42 * len(conflict.tasks)
    # without any, an empty row
    rows = max(math.ceil(len(met) / COLUMNS), 1)
    figure = Figure(
        figsize=(side * COLUMNS, 3.4 + side * rows), layout='constrained'
    )
    halves = figure.subfigures(
        2, 1, squeeze=False, height_ratios=(3.4, side * rows)
    )
    top, bottom = halves[:, 0]
    ax = top.subplots()
    places = range(len(parts))
    for number, task in enumerate(conflict.tasks):
        norms = [conflict.norms(part)[number] for part in parts]
        ax.plot(places, norms, 'o-', ms=4, lw=1, label=task)
    ax.set_yscale('log')
    ax.set_xticks(
        range(len(parts)), parts, fontsize=8, rotation=20, ha='right'
    )
    ax.set_ylabel('norm of the mean gradient', fontsize=8)
    ax.tick_params(axis='y', labelsize=8)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    axes = bottom.subplots(rows, COLUMNS, squeeze=False)
    for ax in axes.flat[len(met) :]:
        ax.set_visible(False)
    for ax, part in zip(axes.flat, met):
        own = conflict.reached(part)
        pairs = np.ix_(own, own)
        cosines = conflict.cosines(part)[pairs]
        errors = conflict.cosine_errors(part)[pairs]
        np.fill_diagonal(cosines, np.nan)
        sure = np.abs(cosines) > errors
        shown = np.where(sure, cosines, np.nan)
        ax.imshow(shown, cmap='RdBu', vmin=-1, vmax=1)
        for (i, j), value in np.ndenumerate(cosines):
            if math.isnan(value) or math.isnan(errors[i, j]):
                continue
            ax.text(
                j,
                i,
                f'{value:+.2f}',
                ha='center',
                va='center',
                fontsize=7,
                color='black' if sure[i, j] else '0.55',
                weight='bold' if sure[i, j] else 'normal',
            )
        ax.set_title(part, fontsize=8)
        names = [conflict.tasks[i] for i in own]
        ax.set_xticks(range(len(own)), names, fontsize=7, rotation=90)
        ax.set_yticks(range(len(own)), names, fontsize=7)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=120)
    return out_file
