"""Predict: ``python tools/predict.py [CONFIG] CHECKPOINT IMAGE|FOLDER ...``.

Writes, for each image, an annotated picture, a JSON file and the masks, and
one CSV file with the probabilities of all images. Without a config, the one
that the checkpoint holds is read.
"""

import argparse
import csv
import io
import json
import os.path as osp
import sys
from collections import Counter
from pathlib import Path

from mmengine.config import Config

from fx_mm.apis import load_config
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.apis.sources import find_images
from fx_mm.datasets.io.xray import IMAGE_SUFFIXES
from fx_mm.utils.cli import (
    add_config_options,
    add_model_options,
    at_least,
    run_tool,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.results import ImageResult, result_class

CSV_FILE = 'probabilities.csv'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='[CONFIG] CHECKPOINT IMAGE',
        help='config file (.py), which may be left out; checkpoint file or '
        'URL; PNG, JPEG, TIFF, DICOM, .mha or .IMG files, or folders of them',
    )
    parser.add_argument(
        '--out-dir',
        help='where the results go (default: predictions/ in the work dir, '
        'or beside the checkpoint)',
    )
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='boxes with a lower score are left out (default: 0.3)',
    )
    parser.add_argument('--batch-size', type=at_least(1), default=8)
    parser.add_argument(
        '--no-pictures', action='store_true', help='write no pictures'
    )
    add_model_options(parser)
    add_config_options(parser)
    return parser.parse_args()


def split_paths(args) -> tuple[Config | None, str, list[Path]]:
    """Tell config, checkpoint and images apart.

    Raises:
        UserError: If one is missing.
    """
    paths, cfg = list(args.paths), None
    if paths[0].endswith('.py'):
        cfg = load_config(paths.pop(0), args.cfg_options, args.data_root)
    elif args.cfg_options or args.data_root:
        raise UserError(
            '--cfg-options and --data-root change a config; give its file '
            'before the checkpoint.'
        )
    if len(paths) < 2:
        raise UserError(
            'give a checkpoint and at least one image or folder: '
            'predict.py [CONFIG] CHECKPOINT IMAGE ...'
        )
    return cfg, paths[0], [Path(path) for path in paths[1:]]


def list_images(sources: list[Path], out_dir: Path) -> list[tuple[Path, str]]:
    """List the images of files and folders.

    Returns:
        list[tuple[Path, str]]: Folder that was given, or the file's own, and
        the image.

    Raises:
        UserError: If there is no such file, or a folder without images.
    """
    images = []
    for source in sources:
        if source.is_dir():
            found = find_images(source, exclude=out_dir)
            images += [(source, path) for path in found]
        elif source.is_file():
            images.append((source.parent, str(source)))
        else:
            raise UserError(
                f'{source}: no such file or folder; give an image or a '
                'folder of images.'
            )
    return images


def output_names(images: list[tuple[Path, str]]) -> list[Path]:
    """Give each image a name of its own, relative to the output folder.

    It is the path in its folder without the suffix; images of one folder that
    differ in their suffix only keep it.

    Args:
        images (list[tuple[Path, str]]): Folder and image.

    Returns:
        list[Path]: Names, all different.
    """
    relative = [Path(path).relative_to(root) for root, path in images]
    # DICOM files without a suffix are often named 1.2.840.10008.
    short = [
        path.with_suffix('') if path.suffix.lower() in IMAGE_SUFFIXES else path
        for path in relative
    ]
    shared = Counter(short)
    names: dict[Path, None] = {}
    for path, name in zip(relative, short, strict=True):
        name = name if shared[name] == 1 else path
        while name in names:
            name = name.with_name(f'{name.name}_')
        names[name] = None
    return list(names)


def save(
    result: ImageResult, stem: Path, infer: FoundationXInferencer, args
) -> None:
    """Write the masks, the picture and, last, the JSON of one image."""
    files: dict[str, dict[str, str]] = {}
    folder = Path(f'{stem}_masks')
    for task, prediction in result.predictions.items():
        written = prediction.save_files(folder)
        files[task] = {k: f'{folder.name}/{v}' for k, v in written.items()}
    if not args.no_pictures:
        result.draw(f'{stem}.png', args.score_thr)
    content = dict(
        result.to_dict(args.score_thr, files),
        checkpoint=osp.basename(infer.checkpoint),
        predict_on=infer.predict_on,
    )
    write_whole(
        f'{stem}.json', json.dumps(content, indent=2, allow_nan=False) + '\n'
    )


def probability_row(result: ImageResult) -> dict[str, str | float]:
    """Give ``task/class`` to probability, and what names the image."""
    row: dict[str, str | float] = dict(
        image=result.path or result.name, error=result.error or ''
    )
    for prediction in result.predictions.values():
        row |= prediction.row()
    return row


def write_table(rows: list[dict], infer, path: Path) -> None:
    """Write the probabilities of all images, if any task has them."""
    columns = [
        column
        for task in infer.tasks
        for column in result_class(task).columns(task)
    ]
    if not columns:
        return
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ['image', *columns, 'error'], lineterminator='\n'
    )
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def main():
    args = parse_args()
    cfg, checkpoint, sources = split_paths(args)
    home = Path(checkpoint).parent if cfg is None else Path(cfg.work_dir)
    if '://' in checkpoint and cfg is None:
        home = Path()
    out_dir = Path(args.out_dir or home / 'predictions')
    images = list_images(sources, out_dir)
    given = (checkpoint,) if cfg is None else (cfg, checkpoint)
    infer = FoundationXInferencer(
        *given,
        predict_on=args.predict_on,
        tasks=args.tasks,
        device=args.device,
        trust=args.trust,
    )
    rows = []
    paths = [path for _, path in images]
    results = infer.iterate(paths, args.batch_size, skip_unreadable=True)
    try:
        for name, result in zip(output_names(images), results, strict=True):
            rows.append(probability_row(result))
            if result.error is not None:
                print(f'error: {result.error}', file=sys.stderr)
                continue
            stem = out_dir / name
            save(result, stem, infer, args)
            what = '.json' if args.no_pictures else '.png, .json'
            print(f'{result.path} -> {stem}{what}')
        write_table(rows, infer, out_dir / CSV_FILE)
    except OSError as error:
        raise UserError(
            f'{out_dir}: the results cannot be written ({error.strerror}); '
            'give another --out-dir.'
        ) from error
    n_failed = sum(bool(row['error']) for row in rows)
    if n_failed:
        print(
            f'error: {n_failed} of {len(rows)} images could not be read.',
            file=sys.stderr,
        )
    return 1 if n_failed else 0


if __name__ == '__main__':
    run_tool(main)
