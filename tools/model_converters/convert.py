"""Bring a checkpoint of another project into fx_mm.

``python tools/model_converters/convert.py SOURCE OUT [--config CONFIG]``
tells whose checkpoint SOURCE is, says part by part what of the config's model
it gives, and writes OUT for ``load_from``, ``tools/test.py`` and
``tools/predict.py``.
"""

import argparse
from pathlib import Path

from fx_mm.apis import load_config
from fx_mm.converters.files import check_free
from fx_mm.converters.foreign_checkpoint import read_foreign
from fx_mm.converters.importing import default_config, import_checkpoint
from fx_mm.utils.cli import add_config_options, add_trust_option, run_tool

CONFIGS = Path(__file__).parents[2] / 'configs'


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', help='checkpoint file or URL')
    parser.add_argument(
        'out', help='checkpoint to write: .pth, or .safetensors'
    )
    parser.add_argument(
        '--config',
        help='whose model it is for; by default the shipped config of an '
        "Ark's or Foundation X's authors' checkpoint",
    )
    parser.add_argument(
        '--weights',
        choices=['teacher', 'student', 'both'],
        help='of a checkpoint with both; teacher by default',
    )
    parser.add_argument(
        '--datasets',
        nargs='+',
        metavar='NAME',
        help="the dataset of each of Ark's heads, in their order; by default "
        'as published',
    )
    parser.add_argument(
        '--allow-missing',
        nargs='+',
        default=[],
        metavar='PART',
        help='parts, branches or tasks that may start at random',
    )
    add_trust_option(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    check_free(args.out)
    source = read_foreign(args.source, args.trust)
    options: dict = {}
    config = args.config
    if config is None:
        name, options = default_config(source, args.datasets)
        config = str(CONFIGS / name)
    options |= args.cfg_options or {}
    cfg = load_config(config, options, args.data_root)
    result = import_checkpoint(source, cfg, args.weights, args.datasets)
    print(result.report())
    result.check(args.allow_missing)
    result.save(args.out)
    changes = ' '.join(f'{k}={_plain(v)}' for k, v in options.items())
    note = f' with --cfg-options {changes}' if changes else ''
    print(f'\nwritten to {args.out}, for {config}{note}')


def _plain(value) -> str:
    """A value as ``--cfg-options`` reads it."""
    if isinstance(value, list | tuple):
        return ','.join(map(str, value))
    return str(value)


if __name__ == '__main__':
    run_tool(main)
