"""A stability report on one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

AGREES, DIFFERS = 'tab:blue', 'tab:red'
NAME = 42
"""Most letters of a case's name."""


def plot_stability(content: Mapping[str, Any], out_file: str | Path) -> Path:
    """Draw where the claim holds, what moves it, and the prediction sets.

    Args:
        content (Mapping): Of a stability report, as in its JSON.
        out_file (str | Path): The picture.

    Returns:
        Path: ``out_file``.
    """
    claim, found = content['claim'], content['predictability']
    stability, sets = content['stability'], content['prediction_sets']
    cases = [(e['name'], e) for e in stability['cases']]
    images = [('held-out test', found['test'])]
    images += [(f'unseen: {n}', e) for n, e in found['unseen'].items()]
    images += list(found['subgroups'].items())
    rows = (len(cases), len(images), len(stability['factors']))
    figure = Figure(
        figsize=(11, 2.6 + 0.34 * (max(rows[0], 3) + max(rows[1], 3))),
        layout='constrained',
    )
    ratios = [max(rows[0], rows[2], 3), max(rows[1], 3)]
    axes = figure.subplots(
        2, 2, squeeze=False, height_ratios=ratios, width_ratios=[3, 2]
    )
    figure.suptitle(f'{claim["text"]}\nThe claim {content["verdict"]}.')
    _differences(axes[0, 0], cases, claim, 'judgement calls')
    _differences(axes[1, 0], images, claim, 'images')
    _components(axes[0, 1], stability['factors'])
    _coverage(axes[1, 1], sets)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=110)
    return out_file


def _differences(
    ax: Axes,
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    claim: Mapping[str, Any],
    title: str,
) -> None:
    """Draw mean differences with their intervals, one row each."""
    for y, (_, each) in enumerate(rows):
        difference = each['difference']
        if difference['mean'] is None:
            continue
        half = 0.0
        if difference['high'] is not None:
            half = difference['high'] - difference['mean']
        color = AGREES if each['holds'] else DIFFERS
        ax.errorbar(
            difference['mean'], y, xerr=half, fmt='o', color=color, capsize=2.5
        )
    ax.axvline(-claim['margin'], color='black', lw=0.8, ls='--')
    _rows(ax, [name for name, _ in rows], title)
    ax.set_xlabel(
        f'{claim["metric"]}: {claim["better"]} - {claim["than"]}\n(right of '
        'the line: as claimed; bar: 95 % interval)',
        fontsize=8,
    )


def _components(ax: Axes, factors: Sequence[Mapping[str, Any]]) -> None:
    """Draw the standard deviation that each factor and the seeds cause."""
    names: dict[str, tuple[str, float]] = dict(
        level=('tab:orange', -0.2), seed=('tab:green', 0), rest=('0.5', 0.2)
    )
    drawn: set[str] = set()
    for y, factor in enumerate(factors):
        for name, (color, shift) in names.items():
            part = factor['components'][name]
            if part['variance'] is None:
                continue
            ends = [max(0.0, part[k]) ** 0.5 for k in ('low', 'high')]
            ax.plot(ends, [y + shift] * 2, color=color, lw=1.3)
            ax.plot(
                max(0.0, part['variance']) ** 0.5,
                y + shift,
                'o',
                color=color,
                ms=4,
                label=None if name in drawn else name,
            )
            drawn.add(name)
    ax.set_xscale('symlog', linthresh=0.01)
    ax.set_xlim(0, None)
    _rows(ax, [f['factor'] for f in factors], 'what moves the difference')
    ax.set_xlabel(
        'standard deviation (bar: 95 % interval)',
        fontsize=8,
    )
    if drawn:
        ax.legend(fontsize=7, loc='lower right')


def _coverage(ax: Axes, sets: Mapping[str, Any] | None) -> None:
    """Draw coverage against the size of the sets."""
    if sets is None:
        ax.set_axis_off()
        ax.text(0.5, 0.5, 'no prediction sets', ha='center', fontsize=8)
        return
    for name, each in sets['redrawn'].items():
        (line,) = ax.plot(each['size'], each['coverage'], 'o', label=name)
        ax.plot(
            [each['size']] * 2,
            [each['lowest'], each['coverage']],
            color=line.get_color(),
            lw=1,
        )
    ax.axhline(sets['level'], color='black', lw=0.8, ls='--')
    ax.set_title('prediction sets (bar: to the lowest)', fontsize=9)
    ax.set_xlabel('labels in a set', fontsize=8)
    ax.set_ylabel('coverage', fontsize=8)
    ax.tick_params(labelsize=7)
    ax.margins(x=0.3)
    ax.legend(fontsize=7)
    ax.grid(alpha=0.3)


def _rows(ax: Axes, names: Sequence[str], title: str) -> None:
    ax.set_yticks(
        range(len(names)),
        [shorten(name, NAME, placeholder=' ...') for name in names],
        fontsize=8,
    )
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis='x', labelsize=7)
    ax.grid(axis='x', alpha=0.3)
    ax.set_title(title, fontsize=9)
