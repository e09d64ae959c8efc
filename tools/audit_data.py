"""Audit data before training: ``python tools/audit_data.py CONFIG``.

Looks in all tasks and splits for patients and images that training and
evaluation share (also under another name, resized, re-encoded, windowed,
cropped, padded, written on, turned, mirrored or inverted, also between
datasets), odd images, wrong boxes and masks, labels that contradict them, and
classes without positives.

Prints a table and writes pictures and audit.json, which also says of each
image and mask how it was read. Ends with exit code 1 if data leak or cannot be
used, unless that is allowed by name or given another level in the config.
"""

import argparse
import os.path as osp

from fx_mm.apis import load_config
from fx_mm.audit import audit
from fx_mm.audit.report import print_report
from fx_mm.utils.cli import add_config_options, run_tool
from fx_mm.utils.errors import UserError


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='of an experiment or of a dataset')
    add_config_options(parser)
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    parser.add_argument(
        '--allow',
        nargs='+',
        default=[],
        metavar='NAME',
        help='findings that are all right: a name of the table, or two '
        'datasets that may share images, as nih14:rsna',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='names only: read no image, draw nothing',
    )
    parser.add_argument(
        '--no-flip',
        action='store_true',
        help='mirrored images are not copies',
    )
    parser.add_argument(
        '--no-invert',
        action='store_true',
        help='inverted images are not copies',
    )
    parser.add_argument(
        '--workers', type=int, help='processes (default: one a core)'
    )
    parser.add_argument(
        '--out',
        help='folder of report and pictures, and of what was read of the '
        'images (default: audit in the work directory)',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    if args.workers is not None and args.workers < 1:
        raise UserError(f'--workers is {args.workers}; it begins at 1.')
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    out = args.out or osp.join(cfg.work_dir, 'audit')
    content = audit(
        cfg,
        out,
        tasks=args.tasks,
        allowed=args.allow,
        quick=args.quick,
        workers=args.workers,
        flip=not args.no_flip,
        invert=not args.no_invert,
    )
    print_report(content)
    print(f'The report is in {out}')
    return int(not content['ok'])


if __name__ == '__main__':
    run_tool(main)
