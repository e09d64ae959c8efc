"""Test one claim for predictability, computability and stability (PCS).

    python tools/analysis_tools/pcs_report.py STUDY.py [--work-dir DIR]

STUDY.py names a claim, two arms, seeds and judgement calls that could have
been made otherwise (docs/stability.md). What is missing is trained and tested,
one process at a time; the command may be given again. Writes ``pcs.json``,
``pcs.md`` and ``pcs.png``.
"""

import argparse
import time
from pathlib import Path

from fx_mm.analysis.reports import write_study
from fx_mm.analysis.stability.report import build_report
from fx_mm.analysis.stability.runs import plan_runs
from fx_mm.analysis.stability.study import read_study
from fx_mm.analysis.stability.text import to_markdown
from fx_mm.analysis.sweep import sweep, write_initial_weights
from fx_mm.utils.cli import add_study_options, run_tool
from fx_mm.visualization.stability_page import plot_stability

TOOLS = Path(__file__).parents[1]
TRAIN = TOOLS / 'train.py'
TEST = TOOLS / 'test.py'
ZERO_SHOT = TOOLS / 'analysis_tools' / 'zero_shot.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_study_options(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    work_dir = args.work_dir or Path('work_dirs') / args.study.stem
    begin = time.perf_counter()
    study = read_study(args.study)
    plan = plan_runs(study, work_dir, args.data_root)
    broken = []
    if not args.report_only:
        for seed in study.seeds:
            file = work_dir / 'initial_weights' / f'seed_{seed}.pth'
            cfg = plan.configs[study.claim.better]
            write_initial_weights(cfg, seed, file, work_dir)
        trainings = list({id(r): r for r in plan.trainings.values()}.values())
        broken += sweep(trainings, TRAIN, args.jobs, args.threads)
        for runs, tool in ((plan.tests, TEST), (plan.unseen, ZERO_SHOT)):
            ready = [r for r in runs.values() if r.training.finished]
            broken += sweep(ready, tool, args.jobs, args.threads)
    content = build_report(study, plan, time.perf_counter() - begin)
    write_study(work_dir, 'pcs', content, plot_stability, to_markdown)
    for run in broken:
        print(f'{run.folder} has no results: see {run.log}')
    return 1 if broken else 0


if __name__ == '__main__':
    run_tool(main)
