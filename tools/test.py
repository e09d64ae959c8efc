"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import os

from mmengine.config import DictAction

from fx_mm.apis import (
    build_runner,
    load_config,
    load_weights,
    write_report,
)
from fx_mm.tasks import TaskTable
from fx_mm.utils.checkpoint import check_meta, load_source
from fx_mm.utils.cli import run_tool
from fx_mm.utils.dist import unwrap
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
    parser.add_argument(
        '--trust',
        action='store_true',
        help='unpickle anything in the checkpoint: it could run code',
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
    checkpoint = load_source(args.checkpoint, args.trust)
    check_meta(checkpoint, table, need_all=True)
    runner = build_runner(cfg, train=False)
    state_dict = checkpoint.get('state_dict', checkpoint)
    load_weights(unwrap(runner.model), state_dict, args.checkpoint)
    write_report(runner, args.checkpoint)


if __name__ == '__main__':
    run_tool(main)
