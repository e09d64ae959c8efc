"""Compare continual trainings over seeds, after ``ablation.py`` ran them.

``continual_table.py DIR --alone alone --joint joint``

Reads ``DIR/CONFIG/seed_N/continual.json`` of each config that has one; the
first is the base, by default ``sequential``. Average, backward transfer and
forgetting with 95 % t-intervals, paired differences to the base, and the
share of the base's forgetting that each removes. Configs called ``alone``
train a later stage by itself: with them, forward transfer is what a task has
when learned minus what it has alone. Writes ``continual_table.md``,
``continual_table.json`` and ``continual_table.png``.
"""

import argparse
from pathlib import Path

from fx_mm.evaluation.report.stage_comparison import StageComparison
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError
from fx_mm.visualization.stage_comparison_plot import plot_stage_comparison


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=Path, help='--work-dir of ablation.py')
    parser.add_argument(
        '--base', default='sequential', help='what the others are compared to'
    )
    parser.add_argument(
        '--joint', default='joint', help='config that trains all at once'
    )
    parser.add_argument(
        '--alone',
        default='alone',
        help='configs of one later stage each, up to their first underscore',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    comparison = StageComparison.read(
        args.folder, args.base, args.joint, args.alone
    )
    if not comparison.variants:
        raise UserError(
            f'{args.folder}: no {args.base}/seed_N/continual.json; run '
            'ablation.py with configs that have "continual" first.'
        )
    comparison.save(args.folder)
    plot_stage_comparison(comparison, args.folder / 'continual_table.png')
    print(comparison.markdown())


if __name__ == '__main__':
    run_tool(main)
