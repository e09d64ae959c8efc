"""Scores of all tasks after each stage, as one picture."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fx_mm.evaluation.forgetting import headline
from fx_mm.evaluation.stage_scores import StageScores


def plot_stages(scores: StageScores, out_file: str | Path) -> Path:
    """Draw the matrix, a frame around what each stage trained anew.

    Args:
        scores (StageScores): With at least one stage.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    rows, tasks = len(scores.rows), scores.tasks
    values = np.array(
        [[scores.score(i, task) for task in tasks] for i in range(rows)]
    )
    figure = Figure(
        figsize=(2.5 + 1.3 * len(tasks), 1.8 + 0.5 * rows),
        layout='constrained',
    )
    ax = figure.subplots()
    picture = ax.imshow(values, aspect='auto', vmin=0, vmax=1, cmap='viridis')
    for i, j in np.ndindex(values.shape):
        value = values[i, j]
        if math.isnan(value):
            continue
        new = tasks[j] in scores.stages[i]
        ax.text(
            *(j, i, f'{value:.3f}'),
            ha='center',
            va='center',
            fontsize=8,
            weight='bold' if new else 'normal',
            color='black' if value > 0.6 else 'white',
        )
    ax.set_xticks(range(len(tasks)), map(headline, tasks), fontsize=7)
    ax.tick_params(axis='x', rotation=20)
    ax.set_yticks(range(rows), [f'stage {i + 1}' for i in range(rows)])
    measures = ', '.join(
        f'{name.replace("_", " ")} {value:+.3f}'
        for name, value in scores.measures().items()
        if not math.isnan(value)
    )
    ax.set_title(f'{measures}\nbold: the tasks that are new', fontsize=8)
    figure.colorbar(picture, ax=ax, pad=0.02)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=110)
    return out_file
