r"""Join the shared weights of a server and the sites' heads to one model.

    python tools/federated/merge.py CONFIG round_24.pth OUT.pth \
        a/federated.pth b/federated.pth

A site hands over a checkpoint for it; its images stay. OUT is a checkpoint of
all tasks for test.py, predict.py and the others.
"""

import argparse
from pathlib import Path

from fx_mm.apis import load_config
from fx_mm.federated.files import save_weights
from fx_mm.federated.merging import merge
from fx_mm.utils.cli import add_config_options, run_tool
from fx_mm.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file, with "federated"')
    parser.add_argument('round', help='round_N.pth of the server')
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument('sites', nargs='+', help='a checkpoint of each site')
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out.exists():
        raise UserError(f'{args.out} exists already; give another name.')
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    merged = merge(cfg, args.round, args.sites)
    save_weights(merged, args.out)
    print(f'written to {args.out}: {len(merged["meta"]["tasks"])} tasks')


if __name__ == '__main__':
    run_tool(main)
