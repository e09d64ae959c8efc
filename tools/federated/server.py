r"""Serve a federated training over the network, by Flower.

    python tools/federated/server.py CONFIG --address 0.0.0.0:9092 \
        --ca ca.crt --certificate server.pem --key server.key

Needs no data, the model's config alone, and Flower in an environment of its
own (docs/federated.md). Starts Flower's SuperLink, waits for the sites
(tools/federated/site.py) and runs the rounds.
"""

import argparse
import contextlib
import json
import subprocess

from fx_mm.apis import load_config
from fx_mm.config import FederatedPlan
from fx_mm.federated import launching
from fx_mm.utils.cli import add_config_options, at_least, run_tool
from fx_mm.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file, with "federated"')
    parser.add_argument('--work-dir', help='where the rounds go')
    parser.add_argument(
        '--resume', action='store_true', help='go on behind the last round'
    )
    parser.add_argument(
        '--address', default='127.0.0.1:9092', help='HOST:PORT to listen at'
    )
    launching.add_tls_options(parser, server=True)
    parser.add_argument(
        '--min-sites',
        type=at_least(1),
        help='sites without which no round starts (default: all)',
    )
    parser.add_argument(
        '--wait',
        type=at_least(0),
        default=60,
        help='seconds that a round waits for sites beyond --min-sites',
    )
    parser.add_argument(
        '--timeout',
        type=at_least(1),
        default=24 * 3600,
        help='seconds after which a round goes on without those who have '
        'not answered (default: a day)',
    )
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    cfg.work_dir = args.work_dir or cfg.work_dir
    plan = FederatedPlan(cfg)
    folder = plan.work_dir
    host, port = launching.host_and_port(args.address)
    tls = launching.tls_of_server(args)
    keys, nodes = {}, folder / 'flower' / 'nodes.json'
    if args.site_keys:
        keys = launching.keys_of_sites(args.site_keys, plan.sites)
    ended = folder / 'flower' / 'ended.json'
    ended.unlink(missing_ok=True)
    settings = dict(
        launching.settings(args),
        resume=args.resume,
        min_sites=args.min_sites,
        wait=args.wait,
        timeout=args.timeout,
        ended=str(ended.absolute()),
        nodes=str(nodes.absolute()) if keys else None,
    )
    env = launching.environment(folder, settings)
    app = launching.write_app(folder, f'{host}:{port}', args)
    link = [
        *(launching.program('flower-superlink'), '--host', host),
        *('--port', port, '--disable-runtime-dependency-installation'),
        *tls,
    ]
    with contextlib.ExitStack() as stack:
        log = folder / 'flower' / 'superlink.log'
        process = stack.enter_context(launching.running(link, env, log))
        launching.wait_until_open(process, host, int(port), log)
        if keys:
            launching.register(keys, env, nodes)
        run = [launching.program('flwr'), 'run', str(app), 'here', '--stream']
        subprocess.run(run, env=env, check=False)
        if not ended.is_file():
            raise UserError(
                f"The server's app ended without a result; {log} says why. "
                'Go on with --resume.'
            )
        error = json.loads(ended.read_text())['error']
        if error:
            raise UserError(error)
    print(f'{folder}: rounds.json and the last round')


if __name__ == '__main__':
    run_tool(main)
