"""Look at data: images in a grid with their labels, boxes and masks.

From a config (of a dataset or an experiment), as training will read it:

    python tools/analysis_tools/contact_sheet.py \
        configs/_base_/datasets/phantom_c.py --split test --out sheet.png

From a folder of images, with any of four kinds of annotation files:

    python tools/analysis_tools/contact_sheet.py data/images \
        --labels labels.csv --boxes coco.json --masks masks.csv \
        --values values.csv
"""

import argparse
import json
import random
from pathlib import Path

from fx_mm.apis import load_config
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.image_io.image_files import find_images
from fx_mm.tasks import (
    ClassificationKind,
    LocalizationKind,
    RegressionKind,
    SegmentationKind,
    Task,
)
from fx_mm.utils.checks import suggest
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.turns import take_turns
from fx_mm.visualization.contact_sheet import make_grid
from fx_mm.visualization.dataset_sheet import (
    PIPELINE,
    collect_images,
    draw_sample,
    open_tasks,
    present_classes,
)
from fx_mm.visualization.tiles import save_picture


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', help='config file or folder of images')
    parser.add_argument(
        '--split', default='train', choices=['train', 'val', 'test']
    )
    parser.add_argument(
        '--dataset', help='one of the datasets of an experiment config'
    )
    parser.add_argument('--labels', help='CSV: image, one column per class')
    parser.add_argument('--boxes', help='COCO json file')
    parser.add_argument('--masks', help='CSV: image, mask path per class')
    parser.add_argument('--values', help='CSV: image, one number per target')
    parser.add_argument(
        '--with-class', help='only images that have this class'
    )
    parser.add_argument(
        '--number', type=int, default=24, help='images (default: 24)'
    )
    parser.add_argument(
        '--shuffle', type=int, metavar='SEED', help='draw images at random'
    )
    parser.add_argument('--columns', type=int, default=6)
    parser.add_argument(
        '--tile', type=int, default=256, help='pixels per tile (default: 256)'
    )
    parser.add_argument('--out', default='contact_sheet.png')
    args = parser.parse_args()
    if min(args.number, args.columns) < 1 or args.tile < 32:
        parser.error('--number and --columns begin at 1, --tile at 32')
    return args


def open_config(path: str, dataset: str | None, split: str) -> list:
    """Open what a config says of one dataset: a ``TaskDataset`` per kind."""
    cfg = load_config(path)
    known = cfg.get('datasets') or {
        name: entry
        for name, entry in cfg.items()
        if isinstance(entry, dict) and 'img_dir' in entry
    }
    if dataset is None and len(known) == 1:
        dataset = next(iter(known))
    if dataset not in known:
        raise UserError(
            f'{path} has no dataset "{dataset}"; {suggest(dataset, known)}.'
            if dataset
            else f'Say with --dataset which one to draw: {", ".join(known)}.'
        )
    return open_tasks(dataset, known[dataset], split)


def open_files(folder: str, args) -> list:
    """Open the annotation files given beside a folder of images."""
    found = []
    for kind, path, names in (
        (ClassificationKind, args.labels, header_classes),
        (LocalizationKind, args.boxes, coco_classes),
        (SegmentationKind, args.masks, header_classes),
        (RegressionKind, args.values, header_classes),
    ):
        if path is None:
            continue
        entry = dict(reader=dict(type=kind.reader), splits=dict(test=path))
        task = Task('files', kind, names(path), '', folder, entry)
        found.append(TaskDataset(task, 'test', pipeline=PIPELINE))
    return found


def header_classes(path: str) -> tuple[str, ...]:
    """Return the class names of a CSV file: its columns but the first."""
    names = CsvTable(path, 'it has the annotation').header
    if len(names) < 2:
        raise UserError(
            f'{path}: needs a header with a column of image names and one '
            'column per class.'
        )
    return tuple(names[1:])


def coco_classes(path: str) -> tuple:
    """Category names of a COCO file."""
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
        return tuple(str(entry['name']) for entry in content['categories'])
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}.') from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: is not a COCO json file.') from error


def main():
    args = parse_args()
    source = Path(args.source)
    if source.is_dir():
        datasets = open_files(str(source), args)
        title = str(source)
    elif args.labels or args.boxes or args.masks or args.values:
        raise UserError(
            f'{source} is not a folder; annotation files go with a folder '
            'of images.'
        )
    else:
        datasets = open_config(str(source), args.dataset, args.split)
        title = f'{datasets[0].task.dataset} {args.split}'
    if datasets:
        places = collect_images(datasets)
    else:
        places = {str(path): [] for path in find_images(source)}

    names = list(
        dict.fromkeys(c for data in datasets for c in data.task.classes)
    )
    if args.with_class and args.with_class not in names:
        raise UserError(
            f'No class "{args.with_class}" here; '
            f'{suggest(args.with_class, names)}.'
        )
    groups = present_classes(datasets) if datasets else {('', ''): [*places]}
    having = set(places)
    if args.with_class:
        having = {
            path
            for (_, name), paths in groups.items()
            for path in paths
            if name == args.with_class
        }
    order = list(places)
    if args.shuffle is not None:
        random.Random(args.shuffle).shuffle(order)
    rank = {path: number for number, path in enumerate(order)}
    wanted = {
        key: sorted(having.intersection(paths), key=rank.__getitem__)
        for key, paths in groups.items()
    }
    chosen = sorted(take_turns(wanted, args.number), key=rank.__getitem__)
    tiles = [
        draw_sample(path, places[path], names, args.tile) for path in chosen
    ]
    if not tiles:
        raise UserError(
            f'None of the {len(order)} images has "{args.with_class}".'
        )
    title += f': {len(tiles)} of {len(order)} images'
    save_picture(make_grid(tiles, args.columns, title), args.out)
    print(f'{args.out}: {len(tiles)} of {len(order)} images')


if __name__ == '__main__':
    run_tool(main)
