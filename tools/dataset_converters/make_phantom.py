"""Write the phantom data: ``python tools/dataset_converters/make_phantom.py``.

Three hospitals of drawn chest X-rays with labels, boxes and masks. Training
on a phantom config writes them by itself; this tool is for other sizes,
counts and difficulties.

With ``--raw`` it writes such images in the official layouts of real datasets
instead, for trying what prepares and reads them:
``make_phantom.py --raw all``, then ``--data-root data/phantom`` for the other
tools.
"""

import argparse

from fx_mm.phantom import (
    DEFAULT_COUNTS,
    DIFFICULTIES,
    RAW_LAYOUTS,
    ensure_phantom,
    write_raw,
)
from fx_mm.utils.cli import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--root',
        default='data/phantom',
        help='the data go to ROOT/DIFFICULTY (default: data/phantom), '
        'raw datasets to ROOT/NAME',
    )
    parser.add_argument(
        '--raw',
        nargs='+',
        metavar='NAME',
        help='write phantoms in the layouts of these datasets: all, '
        + ', '.join(RAW_LAYOUTS),
    )
    parser.add_argument(
        '--images',
        type=int,
        default=60,
        help='images of each raw dataset (default: 60)',
    )
    parser.add_argument(
        '--difficulty', choices=list(DIFFICULTIES), default='easy'
    )
    for split, count in DEFAULT_COUNTS.items():
        parser.add_argument(
            f'--{split}',
            type=int,
            default=count,
            help=f'{split} images per hospital (default: {count})',
        )
    parser.add_argument(
        '--size', type=int, default=128, help='pixels along an edge'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--workers', type=int, help='processes (default: one per core)'
    )
    parser.add_argument(
        '--texts',
        action='store_true',
        help='also reports and questions, beside images that are there too',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='replace data that were written with other arguments',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    if args.raw:
        names = RAW_LAYOUTS if 'all' in args.raw else args.raw
        for name in names:
            folder = write_raw(
                name,
                args.root,
                args.images,
                args.size,
                args.seed,
                force=args.force,
            )
            print(f'{name}: {folder}')
        return
    ensure_phantom(
        root=args.root,
        difficulty=args.difficulty,
        counts={split: getattr(args, split) for split in DEFAULT_COUNTS},
        size=args.size,
        seed=args.seed,
        workers=args.workers,
        force=args.force,
        texts=args.texts,
    )


if __name__ == '__main__':
    run_tool(main)
