r"""Take part in a federated training, by Flower.

    python tools/federated/site.py CONFIG hospital_a \
        --server fed.example.org:9092 --ca ca.crt

Sees the data of its own datasets, sends the weights that belong to none of
them, and the counts of images; all else stays in its work directory. It may
be stopped and started at any time. Needs Flower in an environment of its own
(docs/federated.md).
"""

import argparse

from fx_mm.apis import load_config
from fx_mm.federated import launching
from fx_mm.federated.site import Site
from fx_mm.utils.cli import add_config_options, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file, the same as the server')
    parser.add_argument('site', help='which of federated.sites this is')
    parser.add_argument('--server', required=True, help='HOST:PORT')
    launching.add_tls_options(parser, server=False)
    parser.add_argument('--work-dir', help='where logs and weights go')
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    cfg.work_dir = args.work_dir or cfg.work_dir
    site = Site(cfg, args.site)
    settings = dict(
        launching.settings(args),
        site=args.site,
        folder=str(site.folder.absolute()),
    )
    tls = launching.tls_of_site(args)
    command = [
        *(launching.program('flower-supernode'), '--superlink', args.server),
        *('--host', '127.0.0.1', '--port', str(launching.free_port())),
        *tls,
    ]
    env = launching.environment(site.folder, settings)
    (site.folder / 'flower').mkdir(parents=True, exist_ok=True)
    launching.keep_connected(command, env)


if __name__ == '__main__':
    run_tool(main)
