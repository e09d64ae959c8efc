"""Measures of continual trainings, side by side."""

import math
from pathlib import Path

from matplotlib.figure import Figure

from fx_mm.evaluation.report.stage_comparison import MEASURES, StageComparison
from fx_mm.evaluation.statistics.bootstrap import LEVEL

COLOR = '#1f77b4'


def plot_stage_comparison(
    comparison: StageComparison, out_file: str | Path
) -> Path:
    """Draw one panel per measure, one row per variant.

    A point is the mean over the seeds, a bar its 95 % t-interval, a faint dot
    one seed.

    Args:
        comparison (StageComparison): With at least the base.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    variants = comparison.variants
    figure = Figure(
        figsize=(3.2 * len(MEASURES), 1.2 + 0.35 * len(variants)),
        layout='constrained',
    )
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for ax, measure in zip(panels, MEASURES):
        for row, variant in enumerate(variants):
            seeds = comparison.values[variant].get(measure, {})
            if not seeds:
                continue
            mean, low, high, n = comparison.mean(variant, measure)
            ax.plot(
                list(seeds.values()), [row] * n, '.', color=COLOR, alpha=0.3
            )
            half = 0.0 if math.isnan(low) else high - mean
            ax.errorbar(
                *(mean, row), xerr=half, fmt='o', color=COLOR, ms=4, capsize=3
            )
        if measure != 'average':
            ax.axvline(0, color='black', lw=0.8)
        ax.set_title(measure.replace('_', ' '), fontsize=9)
        ax.tick_params(labelsize=8)
        ax.grid(axis='x', alpha=0.3)
    panels[0].set_yticks(range(len(variants)), variants, fontsize=8)
    panels[0].set_ylim(len(variants) - 0.5, -0.5)
    figure.supxlabel(
        f'point: mean over seeds, bar: {LEVEL:.0%} t-interval, dots: seeds',
        fontsize=8,
    )
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=120)
    return out_file
