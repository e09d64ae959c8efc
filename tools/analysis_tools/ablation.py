"""Run configs over seeds and compare them with the first of them.

``ablation.py --configs BASE.py OTHER.py ... --seeds 0 1 2 --work-dir DIR``

A run is ``tools/train.py`` in a process of its own, in ``DIR/CONFIG/seed_N``.
Runs of a seed start with the same weights, those of the base, wherever they
have the same module. Finished runs are skipped and interrupted ones resumed,
so the command may be given again. A variant is a config's name up to its first
underscore: several configs of a name, such as one per task, are its parts.
A config with ``federated`` is run by ``tools/federated/simulate.py``.

``--split val`` compares the results of the validation split instead of the
test split's, to choose by.
"""

import argparse
from pathlib import Path

from fx_mm.analysis.sweep import (
    Run,
    load_compared_config,
    sweep,
    write_initial_weights,
)
from fx_mm.config import load_config
from fx_mm.evaluation.report.variant_comparison import VariantComparison
from fx_mm.utils.cli import add_sweep_options, run_tool
from fx_mm.utils.errors import UserError
from fx_mm.visualization.variant_plot import plot_variants

TRAIN = Path(__file__).parents[1] / 'train.py'
SIMULATE = Path(__file__).parents[1] / 'federated' / 'simulate.py'
CHOSEN = ('randomness.seed', 'load_from', 'resume')
SPLITS = ('test', 'val')
NOTE = (
    'Results of the {split} split. Runs of a seed share data, order and '
    'initial weights; the seeds differ in order and initial weights.'
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--configs',
        nargs='+',
        type=Path,
        required=True,
        help='config files; the first is the base',
    )
    parser.add_argument(
        '--split',
        choices=SPLITS,
        default='test',
        help='whose results are compared (default: test)',
    )
    parser.add_argument(
        '--compare-only',
        action='store_true',
        help='write tables and picture of what is finished, run nothing',
    )
    add_sweep_options(parser)
    return parser.parse_args()


def initial_weights(work_dir: Path, seed: int) -> Path:
    return work_dir / 'initial_weights' / f'seed_{seed}.pth'


def plan(args: argparse.Namespace) -> list[Run]:
    """List the runs, one seed after the other, so that pairs come early."""
    # `test` is what the configs must say themselves
    reported = {} if args.split == 'test' else {'report': args.split}
    options = {**(args.cfg_options or {}), **reported}
    cfgs = {
        path: load_compared_config(
            path, options, chosen=CHOSEN, split=args.split
        )
        for path in args.configs
    }
    for path, cfg in cfgs.items():
        if cfg.get('federated') and args.split != 'test':
            raise UserError(
                f'{path} is federated, whose sites report the test split '
                'alone; leave --split out.'
            )
    runs = []
    for seed in args.seeds:
        weights = initial_weights(args.work_dir, seed)
        own = [f'randomness.seed={seed}', f'load_from={weights}']
        own += [f'{key}={value}' for key, value in reported.items()]
        for path, cfg in cfgs.items():
            run = Run(
                path,
                seed,
                args.work_dir / path.stem / f'seed_{seed}',
                variant=path.stem.split('_')[0],
                options=[*own, *args.typed_options],
                tool=SIMULATE if cfg.get('federated') else None,
            )
            run.check_unchanged(cfg)
            runs.append(run)
    return runs


def compare(runs: list[Run], work_dir: Path, split: str) -> None:
    """Write the tables and the picture of what is finished."""
    comparison = VariantComparison(runs[0].variant, NOTE.format(split=split))
    for run in runs:
        if run.finished:
            comparison.add(run.variant, run.seed, run.headlines())
    if not comparison.metrics:
        return
    comparison.save(work_dir)
    picture = plot_variants(comparison, work_dir / 'ablation.png')
    print(comparison.markdown())
    print(f'{work_dir}: ablation.md, ablation.json, {picture.name}')


def main() -> int:
    args = parse_args()
    runs = plan(args)
    if not args.compare_only:
        base = load_config(str(args.configs[0]), args.cfg_options)
        for seed in args.seeds:
            file = initial_weights(args.work_dir, seed)
            write_initial_weights(base, seed, file, args.work_dir)
        sweep(runs, TRAIN, args.jobs, args.threads)
    compare(runs, args.work_dir, args.split)
    missing = [run for run in runs if not run.finished]
    for run in missing:
        print(f'{run.config} seed {run.seed} has no results: see {run.log}')
    return 1 if missing else 0


if __name__ == '__main__':
    run_tool(main)
