"""Write a trained model as ONNX, normalisation inside.

``python tools/deployment/export_onnx.py [CONFIG] CHECKPOINT OUT.onnx``
"""

import argparse

from fx_mm.apis import load_config
from fx_mm.deployment import export_onnx
from fx_mm.deployment.onnx_export import DTYPES
from fx_mm.utils.cli import (
    add_config_options,
    add_predict_on,
    add_trust_option,
    run_tool,
)
from fx_mm.utils.errors import UserError


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='[CONFIG] CHECKPOINT OUT',
        help='config file (.py), by default the one that the checkpoint '
        'holds; checkpoint file or URL; file to write (.onnx)',
    )
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    add_predict_on(parser)
    parser.add_argument(
        '--dtype', choices=DTYPES, default='uint8', help='type of the input'
    )
    parser.add_argument(
        '--no-check',
        action='store_true',
        help='do not compare the file with the model in onnxruntime',
    )
    add_trust_option(parser)
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    paths, cfg = list(args.paths), None
    if paths[0].endswith('.py'):
        cfg = load_config(paths.pop(0), args.cfg_options, args.data_root)
    elif args.cfg_options or args.data_root:
        raise UserError(
            '--cfg-options and --data-root change a config; give its file '
            'before the checkpoint.'
        )
    if len(paths) != 2 or not paths[1].endswith('.onnx'):
        raise UserError(
            'give a checkpoint and the file to write: '
            'export_onnx.py [CONFIG] CHECKPOINT OUT.onnx'
        )
    checkpoint, out = paths
    description = export_onnx(
        cfg,
        checkpoint,
        out,
        tasks=args.tasks,
        predict_on=args.predict_on,
        dtype=args.dtype,
        trust=args.trust,
        check=not args.no_check,
    )
    print(f'written to {out}; input images {description["input"]["shape"]}')
    for name, gap in description.get('difference', {}).items():
        print(f'{name}: at most {gap:.1g} from torch')
    for note in description['notes']:
        print(note)


if __name__ == '__main__':
    run_tool(main)
