"""Measure what more training images and a larger model bring.

    python tools/analysis_tools/scaling_study.py STUDY.py [--work-dir DIR]

STUDY.py names pretrainings, sizes of the model, shares of the training
patients, seeds, and downstream targets (docs/scaling.md). What is missing is
pretrained, then fine-tuned or embedded and probed, one process at a time; the
command may be given again. Writes ``scaling.json``, ``scaling.md`` and
``scaling.png``.
"""

import argparse
from pathlib import Path

from fx_mm.analysis.reports import write_study
from fx_mm.analysis.scaling.report import build_report
from fx_mm.analysis.scaling.runs import (
    FineTuneRun,
    Plan,
    ProbeRun,
    plan_runs,
)
from fx_mm.analysis.scaling.study import read_study
from fx_mm.analysis.scaling.text import to_markdown
from fx_mm.analysis.sweep import Run, sweep, write_initial_weights
from fx_mm.evaluation.statistics.bootstrap import RESAMPLES
from fx_mm.phantom import draw_phantoms
from fx_mm.utils.cli import add_study_options, at_least, run_tool
from fx_mm.visualization.scaling_plot import plot_scaling

TOOLS = Path(__file__).parents[1]
TRAIN = TOOLS / 'train.py'
EMBED = TOOLS / 'analysis_tools' / 'embed.py'
PROBE = TOOLS / 'analysis_tools' / 'linear_probe.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_study_options(parser)
    parser.add_argument(
        '--resamples',
        type=at_least(100),
        default=RESAMPLES,
        help=f'of the test patients, for the intervals ({RESAMPLES})',
    )
    return parser.parse_args()


def work(plan: Plan, args: argparse.Namespace) -> list[Run]:
    """Run what is not finished, and return what failed."""
    for cfg in plan.targets.values():
        draw_phantoms(cfg)
    for (file, seed), cfg in plan.initial_weights().items():
        write_initial_weights(cfg, seed, file, file.parent)
    broken = sweep(
        list(plan.pretraining.values()), TRAIN, args.jobs, args.threads
    )
    embedding = [run for run in plan.embedding.values() if run.ready]
    broken += sweep(embedding, EMBED, args.jobs, args.threads)
    tests = [run for run in plan.tests.values() if run.ready]
    for tool, kind in ((PROBE, ProbeRun), (TRAIN, FineTuneRun)):
        runs = [run for run in tests if isinstance(run, kind)]
        broken += sweep(runs, tool, args.jobs, args.threads)
    return broken


def main() -> int:
    args = parse_args()
    work_dir = args.work_dir or Path('work_dirs') / args.study.stem
    study = read_study(args.study)
    plan = plan_runs(study, work_dir, args.data_root)
    broken = [] if args.report_only else work(plan, args)
    content = build_report(study, plan, args.resamples)
    write_study(work_dir, 'scaling', content, plot_scaling, to_markdown)
    for run in broken:
        print(f'{run.folder} has no results: see {run.log}')
    return 1 if broken else 0


if __name__ == '__main__':
    run_tool(main)
