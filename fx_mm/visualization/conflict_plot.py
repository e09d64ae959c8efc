"""How the tasks' gradients on the shared parts agree, as one picture."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fx_mm.analysis.gradient_conflict import GradientConflict

COLUMNS = 4


def plot_conflict(conflict: GradientConflict, out_file: str | Path) -> Path:
    """Draw the norms by part, and a matrix of cosines per part.

    A cosine whose 95 % interval holds 0 is grey; one that cannot be told from
    the noise is left out.

    Args:
        conflict (GradientConflict): What was measured.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    parts = list(conflict.products)
    count = len(conflict.tasks)
    side = 1.6 + 0.42 * count
    rows = math.ceil(len(parts) / COLUMNS)
    figure = Figure(
        figsize=(side * COLUMNS, 3.4 + side * rows), layout='constrained'
    )
    top, bottom = figure.subfigures(2, 1, height_ratios=(3.4, side * rows))
    ax = top.subplots()
    for number, task in enumerate(conflict.tasks):
        norms = [conflict.norms(part)[number] for part in parts]
        ax.plot(range(len(parts)), norms, 'o-', ms=4, lw=1, label=task)
    ax.set_yscale('log')
    ax.set_xticks(range(len(parts)), parts, fontsize=8, rotation=15)
    ax.set_ylabel('norm of the mean gradient', fontsize=8)
    ax.tick_params(axis='y', labelsize=8)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    axes = bottom.subplots(rows, COLUMNS, squeeze=False)
    for ax in axes.flat[len(parts) :]:
        ax.set_visible(False)
    for number, (ax, part) in enumerate(zip(axes.flat, parts)):
        cosines, errors = conflict.cosines(part), conflict.cosine_errors(part)
        np.fill_diagonal(cosines, np.nan)
        ax.imshow(cosines, cmap='RdBu', vmin=-1, vmax=1)
        for (i, j), value in np.ndenumerate(cosines):
            if math.isnan(value):
                continue
            sure = abs(value) > errors[i, j]
            ax.text(
                j,
                i,
                f'{value:+.2f}',
                ha='center',
                va='center',
                fontsize=7,
                color='black' if sure else '0.55',
                weight='bold' if sure else 'normal',
            )
        ax.set_title(part, fontsize=8)
        ticks = range(count)
        ax.set_xticks(ticks, conflict.tasks, fontsize=7, rotation=90)
        names = conflict.tasks if number % COLUMNS == 0 else [''] * count
        ax.set_yticks(ticks, names, fontsize=7)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=120)
    return out_file
