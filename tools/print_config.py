"""Print a config as the Runner gets it: expanded, all bases merged."""

import argparse

from fx_mm.apis import expand_config, load_config
from fx_mm.utils.cli import add_config_options, run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', help='file to write; default: print it')
    add_config_options(parser)
    args = parser.parse_args()
    cfg = expand_config(
        load_config(args.config, args.cfg_options, args.data_root)
    )
    if args.out:
        cfg.dump(args.out)
    else:
        print(cfg.pretty_text)


if __name__ == '__main__':
    run_tool(main)
