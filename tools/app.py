"""One app for people and agents: ``tools/app.py CHECKPOINT --root DIR``.

A page in the browser, its HTTP API and the same functions as tools of the
Model Context Protocol, at /mcp. Images are read from DIR and below, or
uploaded and not kept. Answers are for this machine alone, unless --host says
otherwise; then every request needs a token (FX_MM_APP_TOKEN, or one that is
made up and printed). Not for diagnosis.
"""

import argparse
import os
from importlib.util import find_spec

from fx_mm.apis import FoundationXInferencer
from fx_mm.utils.checks import check_number
from fx_mm.utils.cli import add_model_options, at_least, run_tool
from fx_mm.utils.errors import UserError

TOKEN = 'FX_MM_APP_TOKEN'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        '--root', required=True, help='folder that images may be read from'
    )
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    parser.add_argument(
        '--results',
        metavar='RESULTS_JSON',
        help='results of tools/test.py, whose figures stand beside the '
        'findings (default: results.json beside the checkpoint)',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen at (default: %(default)s)',
    )
    parser.add_argument(
        '--port', type=at_least(0), default=7860, help='0: a free one'
    )
    parser.add_argument(
        '--max-mb',
        type=at_least(1),
        default=64,
        help='size of an image file (default: %(default)s)',
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=300,
        help='time limit of a request (default: %(default)s)',
    )
    add_model_options(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    check_number('--seconds', args.seconds, 0.1, 86400)
    for package in ('gradio', 'mcp'):
        if find_spec(package) is None:
            raise UserError(
                f"the app needs {package}: pip install 'onedl-fx-mm[app]'."
            )
    from fx_mm.app.service import ChestService

    infer = FoundationXInferencer(
        args.checkpoint,
        device=args.device,
        predict_on=args.predict_on,
        tasks=args.tasks,
        trust=args.trust,
    )
    service = ChestService(infer, args.root, args.results, args.max_mb << 20)
    # what is dropped on the page passes through it; Gradio reads its name
    # when it is imported
    os.environ['GRADIO_TEMP_DIR'] = str(service.images.folder / 'dropped')
    from fx_mm.app.server import serve

    token = os.environ.get(TOKEN) or None
    serve(service, args.host, args.port, token, args.seconds)
    return 0


if __name__ == '__main__':
    run_tool(main)
