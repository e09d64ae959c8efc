"""Prepare a checkpoint for others: without optimizer, hash in its name.

``python tools/model_converters/publish.py CHECKPOINT OUT`` writes
``OUT-1a2b3c4d.pth`` with the first digits of the file's SHA-256. An adapter is
merged into its base, or kept alone with ``--adapter-alone``.
"""

import argparse

from fx_mm.converters.publishing import publish_checkpoint, write_published
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.cli import add_trust_option, run_tool
from fx_mm.utils.predictors import PREDICTORS


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', help='checkpoint of fx_mm')
    parser.add_argument(
        'out', help='file to write, with or without .pth; or .safetensors'
    )
    parser.add_argument(
        '--predict-on',
        choices=PREDICTORS,
        help='keep these alone; both by default',
    )
    parser.add_argument(
        '--adapter-alone',
        action='store_true',
        help='do not merge an adapter; its base is looked for beside it',
    )
    add_trust_option(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    merge = not args.adapter_alone
    checkpoint = load_source(args.checkpoint, args.trust, whole=merge)
    published = publish_checkpoint(
        checkpoint, args.checkpoint, args.predict_on, merge
    )
    print(f'written to {write_published(published, args.out)}')


if __name__ == '__main__':
    run_tool(main)
