"""Convert a trained Swin to timm, mmdet or mmpretrain.

``python tools/model_converters/export_backbone.py CHECKPOINT OUT --to timm``
"""

import argparse

from fx_mm.converters.exporting import OUTPUT_NORMS, TARGETS, export_backbone
from fx_mm.converters.files import check_free, write_checkpoint
from fx_mm.utils.cli import add_predict_on, run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.weight_files import SAFETENSORS


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', help='checkpoint of fx_mm')
    parser.add_argument('out', help='file to write: .pth, or .safetensors')
    parser.add_argument(
        '--to',
        choices=TARGETS,
        required=True,
        help='package: timm is version 0.9 and later, microsoft also earlier',
    )
    add_predict_on(parser)
    parser.add_argument(
        '--norms',
        choices=OUTPUT_NORMS,
        help='branch whose norms the outputs bring: localization for mmdet, '
        'classification for the others by default',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    check_free(args.out)
    if args.out.endswith(SAFETENSORS) and args.to != 'timm':
        raise UserError(
            f'{args.to} does not read {SAFETENSORS}; give a name that ends in '
            '.pth.'
        )
    exported, notes = export_backbone(
        args.checkpoint, args.to, args.predict_on, args.norms
    )
    write_checkpoint(exported, args.out)
    print(f'written to {args.out}')
    for note in notes:
        print(note)


if __name__ == '__main__':
    run_tool(main)
