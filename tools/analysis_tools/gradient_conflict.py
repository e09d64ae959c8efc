"""Norms and cosines of the tasks' gradients on the parts that they share.

    python tools/analysis_tools/gradient_conflict.py CONFIG --out DIR

Each task's own loss, without the teacher, on the images that training would
draw; no step is taken. Of trained weights: --cfg-options load_from=FILE.
Writes ``gradient_conflict.json``, ``.md`` and ``.png``.
"""

import argparse
from pathlib import Path

from fx_mm.analysis.gradient_conflict import measure_conflict
from fx_mm.analysis.reports import write_json
from fx_mm.apis import load_config
from fx_mm.evaluation.statistics.gradient_conflict import LEAST_FOLDS
from fx_mm.utils.cli import add_config_options, at_least, run_tool
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table
from fx_mm.visualization.conflict_plot import plot_conflict

NAME = 'gradient_conflict'
HEAD = ['part', 'task', 'and', 'cosine', 'ratio of norms']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config')
    parser.add_argument('--out', type=Path, required=True, help='folder')
    parser.add_argument('--tasks', nargs='+', help='only these')
    parser.add_argument(
        '--folds',
        type=at_least(LEAST_FOLDS),
        default=5,
        help='groups of batches, for the intervals (default: 5)',
    )
    parser.add_argument(
        '--batches',
        type=at_least(1),
        default=8,
        help='of each task in a fold (default: 8)',
    )
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    conflict = measure_conflict(cfg, args.tasks, args.folds, args.batches)
    table = markdown_table(HEAD, list(conflict.rows()))
    write_json(args.out / f'{NAME}.json', conflict.to_dict())
    write_whole(args.out / f'{NAME}.md', table)
    picture = plot_conflict(conflict, args.out / f'{NAME}.png')
    print(table)
    print(f'{args.out}: {NAME}.json, {NAME}.md, {picture.name}')


if __name__ == '__main__':
    run_tool(main)
