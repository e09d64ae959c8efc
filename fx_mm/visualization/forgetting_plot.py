"""Scores of all tasks over the passes of a training."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure, SubFigure

from fx_mm.evaluation.forgetting import ScoreMatrix, headline

COLUMNS = 3
FOCUSED, UNFOCUSED = 'tab:red', 'tab:blue'


def plot_forgetting(
    matrix: ScoreMatrix, out_file: str | Path, predict_on: str | None = None
) -> Path:
    """Draw the matrix, and one panel per task: focused against unfocused.

    Args:
        matrix (ScoreMatrix): With at least one row.
        out_file (str | Path): The picture, such as ``forgetting.png``.
        predict_on (str, optional): The model whose scores are drawn.
            Defaults to the first of the matrix.

    Returns:
        Path: ``out_file``.
    """
    predict_on = predict_on or matrix.predict_on[0]
    numbers = [row.number for row in matrix.rows]
    n_rows = math.ceil(len(matrix.tasks) / COLUMNS)
    height = 1.2 + 0.25 * len(matrix.tasks)
    figure = Figure(
        figsize=(4 * COLUMNS, height + 2.3 * n_rows), layout='constrained'
    )
    ratios = (height, 2.3 * n_rows)
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=ratios)
    top, bottom = parts[:, 0]
    _draw_matrix(top, matrix, predict_on)
    axes = bottom.subplots(n_rows, COLUMNS, squeeze=False)
    for ax in axes.flat[len(matrix.tasks) :]:
        ax.set_visible(False)
    for ax, task in zip(axes.flat, matrix.tasks):
        scores = matrix.column(task, predict_on)
        forgotten = matrix.summary(task, predict_on).forgotten
        ax.plot(numbers, scores, color='0.75', lw=0.8)
        after = [i for rows in matrix.between(task) for i in rows]
        for places, color, size, name in (
            (after, UNFOCUSED, 2.5, "after others' passes"),
            (matrix.visits(task), FOCUSED, 4, 'after its own'),
        ):
            ax.plot(
                [numbers[i] for i in places],
                [scores[i] for i in places],
                'o',
                color=color,
                ms=size,
                label=name,
            )
        lost = '' if math.isnan(forgotten) else f', forgets {forgotten:+.3f}'
        ax.set_title(f'{headline(task)}{lost}', fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=6, framealpha=0.7)
    bottom.supxlabel(f'pass ({predict_on})', fontsize=8)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=110)
    return out_file


def _draw_matrix(
    figure: SubFigure, matrix: ScoreMatrix, predict_on: str
) -> None:
    """Draw passes by tasks; dots mark the passes of the task itself."""
    ax = figure.subplots()
    values = np.array(
        [matrix.column(task, predict_on) for task in matrix.tasks]
    )
    picture = ax.imshow(values, aspect='auto', vmin=0, vmax=1, cmap='viridis')
    for y, task in enumerate(matrix.tasks):
        own = [i for i, row in enumerate(matrix.rows) if row.task == task]
        ax.plot(own, [y] * len(own), '.', color='white', ms=3)
    ax.set_yticks(range(len(matrix.tasks)), matrix.tasks, fontsize=7)
    step = math.ceil(len(matrix.rows) / 20)
    places = range(0, len(matrix.rows), step)
    labels = [str(matrix.rows[i].number) for i in places]
    ax.set_xticks(places, labels, fontsize=7)
    figure.colorbar(picture, ax=ax, pad=0.01)
