"""Predictions to an annotation server, to be corrected there.

    python tools/export_annotations.py PREDICTIONS --to coco
    python tools/export_annotations.py PREDICTIONS --to labelstudio

PREDICTIONS is the folder that tools/predict.py wrote. docs/annotation.md says
how to load what is written, and tools/import_annotations.py reads back what
was corrected.
"""

import argparse
from pathlib import Path

from fx_mm.preparation.corrections import (
    read_predictions,
    write_coco,
    write_label_studio,
)
from fx_mm.utils.checks import check_number
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('predictions', help='folder of tools/predict.py')
    parser.add_argument('--to', choices=('coco', 'labelstudio'), required=True)
    parser.add_argument(
        '--min-score',
        type=float,
        default=0.3,
        help='boxes and labels with a lower score are left out (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--img-dir',
        help='folder below which images are named (default: the deepest that '
        'holds all)',
    )
    parser.add_argument(
        '--url',
        default='',
        help="what Label Studio has in front of an image's name, such as "
        '/data/local-files/?d=xrays/',
    )
    parser.add_argument(
        '--out-dir', help='default: annotations/ in the predictions'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_number('--min-score', args.min_score, 0, 1)
    out_dir = Path(args.out_dir or Path(args.predictions, 'annotations'))
    heads, images = read_predictions(
        args.predictions, args.img_dir, args.min_score
    )
    try:
        if args.to == 'coco':
            files = write_coco(heads, images, out_dir)
        else:
            files = write_label_studio(heads, images, out_dir, args.url)
    except OSError as error:
        raise UserError(
            f'{out_dir}: cannot be written ({error.strerror}); give another '
            '--out-dir.'
        ) from error
    print(f'{len(images)} images, tasks: {", ".join(heads)}')
    for file in files:
        print(file)


if __name__ == '__main__':
    run_tool(main)
