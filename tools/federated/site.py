r"""Take part in a federated training, by Flower.

    python tools/federated/site.py CONFIG hospital_a \
        --server fed.example.org:9092 --ca ca.crt

Sees the data of its own datasets, sends the weights that belong to none of
them, and the counts of images; all else stays in its work directory. It may
be stopped and started at any time. Needs Flower in an environment of its own
(docs/federated.md).
"""

import argparse
import math

from fx_mm.apis import load_config
from fx_mm.federated import launching
from fx_mm.federated.privacy import Privacy, PrivacyLedger
from fx_mm.federated.site import Site
from fx_mm.utils.checks import check_number
from fx_mm.utils.cli import add_config_options, run_tool
from fx_mm.utils.errors import UserError

LIMITS = (1e-3, 1e6)
"""Of norms and noise: others are mistakes, or leave nothing."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file, the same as the server')
    parser.add_argument('site', help='which of federated.sites this is')
    parser.add_argument('--server', required=True, help='HOST:PORT')
    launching.add_tls_options(parser, server=False)
    parser.add_argument(
        '--clip',
        type=float,
        help='scale updates down to this norm before they are sent',
    )
    parser.add_argument(
        '--noise',
        type=float,
        default=0.0,
        help='add Gaussian noise to each weight that is sent, of 2 * CLIP * '
        'NOISE (default: none)',
    )
    parser.add_argument(
        '--delta',
        type=float,
        default=1e-5,
        help='of the epsilon that is reported (default: %(default)s)',
    )
    parser.add_argument(
        '--max-epsilon',
        type=float,
        help='answer no more when it would be exceeded',
    )
    parser.add_argument('--work-dir', help='where logs and weights go')
    add_config_options(parser)
    return parser.parse_args()


def read_privacy(args: argparse.Namespace) -> Privacy | None:
    """Return what the site does to its answers; None for nothing.

    Raises:
        UserError: If an option is out of range, or lacks another one.
    """
    if args.clip is None and args.noise:
        raise UserError(
            '--noise needs --clip, the norm to which updates are scaled down.'
        )
    if not args.noise and args.max_epsilon is not None:
        raise UserError('--max-epsilon needs --noise.')
    if args.clip is None:
        return None
    check_number('--clip', args.clip, *LIMITS)
    if args.noise:
        check_number('--noise', args.noise, *LIMITS)
    check_number('--delta', args.delta, 1e-30, 0.1)
    most = math.inf
    if args.max_epsilon is not None:
        check_number('--max-epsilon', args.max_epsilon, 0)
        most = args.max_epsilon
    return Privacy(args.clip, args.noise, args.delta, most)


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    cfg.work_dir = args.work_dir or cfg.work_dir
    site = Site(cfg, args.site)
    privacy = read_privacy(args)
    settings = dict(
        launching.settings(args),
        site=args.site,
        folder=str(site.folder.absolute()),
        privacy=privacy and privacy._asdict(),
    )
    tls = launching.tls_of_site(args)
    ledger = PrivacyLedger(site.folder)
    if privacy:
        privacy.check_budget(ledger)
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
