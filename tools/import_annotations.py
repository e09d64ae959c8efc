r"""Corrected annotations to the files that a training reads.

    python tools/import_annotations.py EXPORT.json --labels labels.xml \
        --out-dir DIR
    python tools/import_annotations.py phantom_c_seg.json --out-dir DIR

The first reads Label Studio's export in the format JSON, with the labels.xml
that tools/export_annotations.py wrote; the second the masks of a COCO file,
such as CVAT's. COCO files of boxes and tables of labels need no import.
"""

import argparse

from fx_mm.preparation.corrections import (
    read_coco_masks,
    read_label_studio,
    write_tables,
)
from fx_mm.preparation.corrections.tables import READERS
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('export', help='file of the annotation server')
    parser.add_argument(
        '--labels', help="Label Studio's labelling configuration"
    )
    parser.add_argument('--out-dir', required=True)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    left = 0
    if args.labels:
        heads, images, left = read_label_studio(args.export, args.labels)
    else:
        heads, images = read_coco_masks(args.export)
    try:
        files = write_tables(heads, images, args.out_dir)
    except OSError as error:
        raise UserError(
            f'{args.out_dir}: cannot be written ({error.strerror}); give '
            'another --out-dir.'
        ) from error
    print(f'{len(images)} images were annotated, {left} were not.')
    for task, file in files.items():
        print(f'{file}: for {READERS[heads[task].form]}')


if __name__ == '__main__':
    run_tool(main)
