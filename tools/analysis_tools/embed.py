"""Write the pooled vectors of images, with their names and labels.

    python tools/analysis_tools/embed.py CONFIG CHECKPOINT OUT.npz

The config's model must be the checkpoint's; its datasets need not: to embed
others, give a config with the same model and those datasets. docs/transfer.md
says what is in the file.
"""

import argparse

from fx_mm.analysis.embeddings import BATCH_SIZE, LAYERS, embed
from fx_mm.apis import load_config
from fx_mm.tasks import SPLITS
from fx_mm.utils.cli import (
    add_config_options,
    add_model_options,
    at_least,
    run_tool,
)
from fx_mm.utils.errors import UserError


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='file to write, .npz')
    parser.add_argument('--layer', choices=LAYERS, default='pooled')
    parser.add_argument(
        '--tasks', nargs='+', help='only these, such as nih14/cls'
    )
    parser.add_argument(
        '--splits', nargs='+', choices=SPLITS, default=list(SPLITS)
    )
    parser.add_argument('--batch-size', type=at_least(1), default=BATCH_SIZE)
    add_model_options(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    if not args.out.endswith('.npz'):
        raise UserError(f'OUT is "{args.out}"; it must end in .npz.')
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    if args.tasks:
        cfg.tasks = args.tasks
    found = embed(
        cfg,
        args.checkpoint,
        args.layer,
        args.predict_on,
        args.splits,
        args.batch_size,
        args.device,
        args.trust,
    )
    found.save(args.out)
    number, width = found.vectors.shape
    print(
        f'{args.out}: {number} vectors of {width} ({args.layer}, '
        f'{found.meta["predict_on"]}) of {", ".join(found.meta["datasets"])}'
    )


if __name__ == '__main__':
    run_tool(main)
