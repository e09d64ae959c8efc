"""Train a model: ``python tools/train.py CONFIG``.

mmdet's, mmseg's and mmpretrain's own tools/train.py run the same configs;
this one adds ``--dry-run`` and says a user's mistake in one sentence.
"""

import argparse
import os

from fx_mm.apis import build_runner, dry_run, load_config
from fx_mm.utils.cli import (
    add_config_options,
    add_launcher_options,
    change_config,
    run_tool,
)

from mmengine.dist import is_main_process


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
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU, unless '
        'the config has optim_wrapper.amp_dtype',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size, see '
        'auto_scale_lr.base_batch_size of the config',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='build everything, do one step per task, print memory and time',
    )
    add_config_options(parser)
    add_launcher_options(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    change_config(cfg, args)
    resume = {None: False, 'auto': True}.get(args.resume, args.resume)
    runner = build_runner(cfg, resume=resume)
    if args.dry_run:
        table = dry_run(runner)
        if is_main_process():
            print(table)
        return
    runner.train()


if __name__ == '__main__':
    run_tool(main)
