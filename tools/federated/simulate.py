"""Train a federated config with all sites on this machine.

    python tools/federated/simulate.py CONFIG [--work-dir DIR] [--resume]

Each site sees the data of its own datasets alone, in a process of its own; no
network and no Flower is needed. Writes below the work directory a folder per
site, ``round_N.pth`` of the server, ``rounds.json`` and ``merged.pth``, one
model with all heads.
"""

import argparse

from fx_mm.apis import load_config
from fx_mm.federated.simulation import simulate
from fx_mm.utils.cli import add_config_options, at_least, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file, with "federated"')
    parser.add_argument('--work-dir', help='where logs and weights go')
    parser.add_argument(
        '--resume', action='store_true', help='go on behind the last round'
    )
    parser.add_argument(
        '--jobs',
        type=at_least(1),
        default=1,
        help='sites that train at a time (default: 1)',
    )
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    simulate(cfg, args.resume, args.jobs)
    print(f'{cfg.work_dir}: the sites, rounds.json and the last round')


if __name__ == '__main__':
    run_tool(main)
