"""Prepare a dataset for training from its official files.

    python tools/dataset_converters/prepare.py siim_acr --check

reads the official files in data/siim_acr/ and writes data/siim_acr/prepared/:
exactly the files that the dataset's config names. Call it again after a kill,
and only the rest is done. docs/datasets.md says where the files come from.
"""

import argparse

from fx_mm.preparation import (
    RAW_DATASETS,
    RawError,
    check_prepared,
    prepare,
)
from fx_mm.tasks import SPLITS
from fx_mm.utils.cli import run_tool
from fx_mm.utils.config_options import ConfigOptions
from fx_mm.utils.errors import UserError

from rich.console import Console


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'dataset',
        nargs='?',
        help='name of a dataset, or a config file with one dataset',
    )
    parser.add_argument(
        '--list', action='store_true', help='list the known raw datasets'
    )
    parser.add_argument(
        '--data-root', help='folder that takes the place of data/'
    )
    parser.add_argument(
        '--raw', help="the raw dataset's name, if it is not the config's"
    )
    parser.add_argument(
        '--option',
        nargs='+',
        action=ConfigOptions,
        default={},
        metavar='KEY=VALUE',
        help='options of the raw dataset; --list names them',
    )
    parser.add_argument(
        '--split-from',
        nargs='+',
        default=[],
        metavar='SPLIT=FILE',
        help='take the split from published lists, such as train=a.txt '
        'test=b.txt',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the splits that are drawn'
    )
    parser.add_argument(
        '--drop-bad-boxes',
        action='store_true',
        help='drop boxes without area within their image',
    )
    parser.add_argument(
        '--max-unreadable-ratio',
        type=float,
        default=0.001,
        help='ratio of the images that may be unreadable (default: 0.001)',
    )
    parser.add_argument(
        '--workers', type=int, help='processes (default: one per core)'
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='check all that was written and draw a contact sheet; exit '
        'code 1 if something is wrong',
    )
    parser.add_argument(
        '--force', action='store_true', help='write everything again'
    )
    args = parser.parse_args()
    if not (args.list or args.dataset):
        parser.error('name a dataset, or --list')
    return args


def parse_lists(pairs: list[str]) -> dict[str, str]:
    lists = {}
    for pair in pairs:
        split, equals, path = pair.partition('=')
        if not equals or split not in SPLITS:
            raise UserError(
                f'--split-from is "{pair}"; write SPLIT=FILE with one of '
                f'{", ".join(SPLITS)}.'
            )
        lists[split] = path
    return lists


def list_raw_datasets() -> None:
    for name, raw in sorted(RAW_DATASETS.items()):
        options = [f'{key}={value}' for key, value in raw.options.items()]
        print(f'{name:<16}{", ".join(options)}'.rstrip())


def main():
    args = parse_args()
    if args.list:
        list_raw_datasets()
        return
    prepare_or_find(args)
    if args.check:
        report = check_prepared(args.dataset, args.data_root, args.workers)
        Console().print(report.counts)
        for line in report.lines():
            print(line)
        if report.sheet:
            print(f'Look at {report.sheet}.')
        return int(bool(report.problems))


def prepare_or_find(args) -> None:
    """Prepare; the check alone needs the official files no more."""
    try:
        prepare(
            args.dataset,
            data_root=args.data_root,
            raw=args.raw,
            options=args.option,
            seed=args.seed,
            split_from=parse_lists(args.split_from),
            drop_bad_boxes=args.drop_bad_boxes,
            max_unreadable_ratio=args.max_unreadable_ratio,
            workers=args.workers,
            force=args.force,
        )
    except RawError as error:
        if not args.check:
            raise
        print(f'{error}\nOnly what is prepared already is checked.')


if __name__ == '__main__':
    run_tool(main)
