"""Prepare a checkpoint for others: without optimizer, hash in its name.

``python tools/model_converters/publish.py CHECKPOINT OUT`` writes
``OUT-1a2b3c4d.pth`` with the first digits of the file's SHA-256. An adapter is
merged into its base, or kept alone with ``--adapter-alone``.

``publish.py CHECKPOINT --to DIR`` writes a folder as model hubs have them,
``model.safetensors``, ``config.json`` and a card; ``--to hf://owner/name``
uploads it, with the token of ``HF_TOKEN`` or of ``hf auth login``.
"""

import argparse
import tempfile
from pathlib import Path

from fx_mm.converters.hub import PREFIX, push_folder
from fx_mm.converters.hub_folder import shown_config, write_folder
from fx_mm.converters.model_card import check_results, model_card
from fx_mm.converters.publishing import publish_checkpoint, write_published
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.cli import add_trust_option, run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import model_weights
from fx_mm.utils.predictors import PREDICTORS


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', help='checkpoint of fx_mm')
    parser.add_argument(
        'out',
        nargs='?',
        help='file to write, with or without .pth; or .safetensors',
    )
    parser.add_argument(
        '--to',
        metavar='DIR|hf://owner/name',
        help='write a folder for a model hub, or upload it to one',
    )
    parser.add_argument(
        '--results',
        metavar='PATH',
        help='results.json of tools/test.py on this checkpoint, for the card',
    )
    parser.add_argument(
        '--licence',
        '--license',
        metavar='SPDX',
        help='of the weights, for the card: cc-by-nc-4.0, apache-2.0, ...',
    )
    parser.add_argument(
        '--public',
        action='store_true',
        help='a repository that is made now is public (default: private)',
    )
    parser.add_argument(
        '--predict-on',
        choices=PREDICTORS,
        help='keep these alone; both by default, but with --to those that '
        'predict',
    )
    parser.add_argument(
        '--adapter-alone',
        action='store_true',
        help='do not merge an adapter; its base is looked for beside it',
    )
    add_trust_option(parser)
    return parser.parse_args()


def publish_folder(args, checkpoint):
    source = args.checkpoint
    predict_on = model_weights(checkpoint, source, args.predict_on).predict_on
    published = publish_checkpoint(checkpoint, source, predict_on)
    results = None
    if args.results:
        results = read_results(args.results)
        name = Path(source).name
        check_results(results, args.results, name, predict_on)
    config = shown_config(published, source)
    name = args.to.removeprefix(PREFIX)
    on_hub = name != args.to
    card = model_card(
        name if on_hub else Path(name).name,
        *(published['meta'], config, predict_on, results, args.licence),
    )
    if not on_hub:
        write_folder(published, config, card, name)
        print(f'written to {name}')
        return
    with tempfile.TemporaryDirectory() as folder:
        write_folder(published, config, card, folder)
        print(f'pushed to {push_folder(folder, name, args.public)}')


def main():
    args = parse_args()
    if bool(args.out) == bool(args.to):
        raise UserError('Give either a file to write or --to, and not both.')
    if args.out and (args.results or args.licence or args.public):
        raise UserError('--results, --licence and --public are of --to.')
    if args.public and not args.to.startswith(PREFIX):
        raise UserError('--public is of a repository: --to hf://owner/name.')
    if args.to and args.adapter_alone:
        raise UserError(
            '--adapter-alone is of a file: a model on a hub is whole.'
        )
    merge = not args.adapter_alone
    checkpoint = load_source(args.checkpoint, args.trust, whole=merge)
    if args.to:
        publish_folder(args, checkpoint)
        return
    published = publish_checkpoint(
        checkpoint, args.checkpoint, args.predict_on, merge
    )
    print(f'written to {write_published(published, args.out)}')


if __name__ == '__main__':
    run_tool(main)
