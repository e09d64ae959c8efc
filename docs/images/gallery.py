"""Make the pictures of docs/gallery.md from a run's output.

``python docs/images/gallery.py RUN [--forgetting RUN] [--data-root DATA]``:
the first is a work directory with its report, the second one that was trained
with the ForgettingHook. Pictures are reduced to the width of a page and 256
colours.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WIDTH = 1200
DATASET = 'phantom_c'
PLOTS = dict(
    cls='plots/teacher/phantom_c_cls.png',
    loc='plots/teacher/phantom_c_loc.png',
    seg='plots/teacher/phantom_c_seg.png',
)


def reduce(source, target):
    """Write a picture as small as the page shows it."""
    image = Image.open(source).convert('RGB')
    if image.width > WIDTH:
        size = (WIDTH, round(image.height * WIDTH / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    target.parent.mkdir(exist_ok=True)
    image.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


def draw_contact_sheet(data_root, target):
    """Draw the data of one hospital as training reads it."""
    config = ROOT / f'configs/_base_/datasets/{DATASET}.py'
    tool = ROOT / 'tools/analysis_tools/contact_sheet.py'
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, 'sheet.png')
        words = ['--split', 'test', '--number', '12', '--columns', '6']
        subprocess.run(
            [sys.executable, tool, config, *words, '--out', out],
            cwd=data_root,
            check=True,
        )
        reduce(out, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('run', type=Path)
    parser.add_argument('--forgetting', type=Path)
    parser.add_argument(
        '--data-root', type=Path, default=ROOT, help='folder that has data/'
    )
    args = parser.parse_args()
    gallery = HERE / 'gallery'
    reduce(args.run / 'predictions.png', HERE / 'predictions.png')
    reduce(args.run / 'curves.png', gallery / 'curves.png')
    for kind, plot in PLOTS.items():
        reduce(args.run / plot, gallery / f'{kind}.png')
    forgetting = args.forgetting or args.run
    reduce(forgetting / 'forgetting.png', gallery / 'forgetting.png')
    draw_contact_sheet(args.data_root, gallery / 'contact_sheet.png')


if __name__ == '__main__':
    main()
