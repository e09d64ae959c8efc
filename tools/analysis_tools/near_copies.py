"""Measure which changed copies of images the audit finds.

    python tools/analysis_tools/near_copies.py data/nih14/images --limit 1000

Some images of a folder are copied and changed in each of the ways in which
datasets hand images on; the audit then looks for the copies among all. Prints
how many it finds of each change, pairs that it takes for copies among the
images themselves (each is either a copy that the folder has, or wrong) and
the time. Writes nothing but the report.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from fx_mm.analysis.near_copies import CopyStudy, study_copies
from fx_mm.image_io.image_files import find_images
from fx_mm.utils.checks import check_number
from fx_mm.utils.cli import run_tool
from fx_mm.utils.files import write_whole

from rich.console import Console
from rich.table import Table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', help='of images, with its subfolders')
    parser.add_argument(
        '--limit', type=int, help='look at so many images only'
    )
    parser.add_argument(
        '--copies',
        type=int,
        default=20,
        help='images that are copied (default: 20)',
    )
    parser.add_argument(
        '--workers', type=int, help='processes (default: one per core)'
    )
    parser.add_argument('--out', help='a JSON file with the figures')
    return parser.parse_args()


def show(study: CopyStudy) -> None:
    """Print the figures."""
    table = Table(title='Copies found', title_justify='left')
    table.add_column('change')
    table.add_column(f'of {study.copies}', justify='right')
    for name, count in study.found.items():
        table.add_row(name, str(count))
    console = Console()
    console.print(table)
    for title, pairs in (
        ('among the images themselves', study.among),
        ('of a copy with another image', study.wrong),
    ):
        print(f'{len(pairs)} pairs {title}')
        for pair in pairs[:20]:
            print(f'  {pair.score:.3f} {pair.first} {pair.second}')
    print(
        f'{study.images} images; for 1000: {study.reading:.1f} s to read, '
        f'{study.comparing:.1f} s to compare'
    )


def main() -> None:
    args = parse_args()
    for name in ('limit', 'copies', 'workers'):
        value = getattr(args, name)
        if value is not None:
            check_number(f'--{name}', value, 1, whole=True)
    paths = find_images(Path(args.folder))[: args.limit]
    study = study_copies(paths, args.copies, args.workers)
    show(study)
    if args.out:
        text = json.dumps(asdict(study), indent=1)
        write_whole(Path(args.out), text + '\n')


if __name__ == '__main__':
    run_tool(main)
