"""Train a model: ``python tools/train.py CONFIG``."""

import argparse
import os

from mmengine.dist import is_main_process

from fx_mm.apis import build_runner, dry_run, load_config, write_report
from fx_mm.utils.cli import add_config_options, run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and weights go')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint, by default the newest of work-dir',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='build everything, do one step a task, print memory and time',
    )
    add_config_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    resume = {None: False, 'auto': True}.get(args.resume, args.resume)
    runner = build_runner(cfg, resume=resume)
    if args.dry_run:
        table = dry_run(runner)
        if is_main_process():
            print(table)
        return
    runner.train()
    if runner.iter < runner.max_iters or runner.test_loop is None:
        return
    write_report(runner)


if __name__ == '__main__':
    run_tool(main)
