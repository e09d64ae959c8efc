"""Paired differences of variants as one picture."""

import math
from pathlib import Path

from matplotlib.figure import Figure

from fx_mm.evaluation.report.variant_comparison import VariantComparison
from fx_mm.evaluation.statistics.bootstrap import LEVEL

COLORS = ('#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#8c564b')


def plot_variants(comparison: VariantComparison, out_file: str | Path) -> Path:
    """Draw the difference of each variant to the base, one row per metric.

    A point is the mean over the paired seeds, a bar its 95 % t-interval, a
    faint dot one pair.

    Args:
        comparison (VariantComparison): With results of the base and at least
            one variant.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    metrics, variants = comparison.metrics, comparison.variants[1:]
    figure = Figure(
        figsize=(8, 1.2 + 0.22 * len(metrics) * (len(variants) + 1)),
        layout='constrained',
    )
    ax = figure.subplots()
    step = 0.8 / max(len(variants), 1)
    for place, variant in enumerate(variants):
        color = COLORS[place % len(COLORS)]
        drawn = False
        for row, metric in enumerate(metrics):
            y = row + (place - (len(variants) - 1) / 2) * step
            mean, low, high, n = comparison.difference(variant, metric)
            if not n:
                continue
            ours = comparison.values(variant, metric)
            base = comparison.values(comparison.base, metric)
            pairs = [ours[s] - base[s] for s in ours.keys() & base.keys()]
            ax.plot(pairs, [y] * n, '.', color=color, alpha=0.3, ms=4)
            half = 0.0 if math.isnan(low) else high - mean
            ax.errorbar(
                mean,
                y,
                xerr=half,
                fmt='o',
                color=color,
                ms=4,
                capsize=2.5,
                lw=1.3,
                label=None if drawn else variant,
            )
            drawn = True
    ax.axvline(0, color='black', lw=0.8)
    for row in range(1, len(metrics)):
        ax.axhline(row - 0.5, color='0.85', lw=0.6)
    ax.set_yticks(range(len(metrics)), metrics, fontsize=8)
    ax.set_ylim(len(metrics) - 0.5, -0.5)
    ax.tick_params(axis='x', labelsize=8)
    ax.grid(axis='x', alpha=0.3)
    ax.set_xlabel(
        f'difference to {comparison.base} (point: mean over pairs, bar: '
        f'{LEVEL:.0%} t-interval, dots: pairs)',
        fontsize=8,
    )
    if variants:
        ax.legend(
            fontsize=8, ncols=3, loc='lower center', bbox_to_anchor=(0.5, 1)
        )
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=120)
    return out_file
