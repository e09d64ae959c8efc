"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import os

from mmengine.config import DictAction

from fx_mm.apis import build_runner, load_config, write_report
from fx_mm.tasks import TaskTable
from fx_mm.utils.checkpoint import check_meta, load_file
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where the results go')
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    parser.add_argument(
        '--weights', choices=['teacher', 'student', 'both'], default='both'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
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
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    if args.tasks:
        cfg.tasks = args.tasks
    if cfg.get('test_cfg') is None:
        raise UserError(f'Config "{args.config}" has no test_cfg.')
    both = ['teacher', 'student']
    cfg.test_cfg.weights = both if args.weights == 'both' else [args.weights]
    table = TaskTable.from_cfg(cfg)
    check_meta(load_file(args.checkpoint), table, need_all=True)
    cfg.load_from = args.checkpoint
    runner = build_runner(cfg, train=False)
    write_report(runner)


if __name__ == '__main__':
    run_tool(main)
