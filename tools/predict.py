"""Predict: ``python tools/predict.py CONFIG CHECKPOINT IMAGE|FOLDER``.

Writes, for each image, an annotated picture, a JSON file and the masks.
"""

import argparse
import json
import os.path as osp
import re
import sys
from collections import Counter
from pathlib import Path

import torch
from mmengine.config import DictAction

from fx_mm.apis import load_config
from fx_mm.apis.inference import FoundationXInferencer, find_images
from fx_mm.apis.results import ImageResult
from fx_mm.datasets.xray_io import IMAGE_SUFFIXES
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.draw import draw_result, save_picture


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        'image', help='PNG, JPEG, TIFF or DICOM file, or a folder of them'
    )
    parser.add_argument(
        '--out-dir',
        help='where the results go (default: predictions/ in the work dir)',
    )
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    parser.add_argument(
        '--weights', choices=['teacher', 'student'], default='teacher'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='boxes with a lower score are left out (default: 0.3)',
    )
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu'
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='load a checkpoint that may run code; only from a good source',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args()


def output_names(paths: list[str], root: Path) -> list[Path]:
    """Give each image a name of its own, relative to the output folder.

    It is the path in ``root`` without the suffix; images of one folder that
    differ in their suffix only keep it.

    Args:
        paths (list[str]): Images in ``root``.
        root (Path): Folder that was given, or the image's own.

    Returns:
        list[Path]: Names, all different.
    """
    relative = [Path(path).relative_to(root) for path in paths]
    # DICOM files without a suffix are often named 1.2.840.10008.
    short = [
        path.with_suffix('') if path.suffix.lower() in IMAGE_SUFFIXES else path
        for path in relative
    ]
    shared = Counter(short)
    names: list[Path] = []
    for path, name in zip(relative, short, strict=True):
        name = name if shared[name] == 1 else path
        while name in names:
            name = name.with_name(f'{name.name}_')
        names.append(name)
    return names


def save(
    result: ImageResult, stem: Path, infer: FoundationXInferencer, score_thr
) -> None:
    """Write the masks, the picture and, last, the JSON of one image."""
    files: dict[str, dict[str, str]] = {}
    for task, prediction in result.predictions.items():
        if prediction.kind != 'seg':
            continue
        for index, name in enumerate(prediction.classes):
            label = re.sub(r'\W+', '_', f'{task}_{index:02d}_{name}')
            mask_file = Path(f'{stem}_masks', f'{label}.png')
            mask = prediction.masks[index].astype('uint8') * 255
            save_picture(mask, mask_file)
            relative = mask_file.relative_to(stem.parent).as_posix()
            files.setdefault(task, {})[name] = relative
    save_picture(draw_result(result, score_thr), f'{stem}.png')
    content = dict(
        result.to_dict(score_thr, files),
        checkpoint=osp.basename(infer.checkpoint),
        weights=infer.weights,
    )
    write_whole(
        f'{stem}.json', json.dumps(content, indent=2, allow_nan=False) + '\n'
    )


def main():
    args = parse_args()
    if args.batch_size < 1:
        raise UserError('--batch-size must be at least 1.')
    cfg = load_config(args.config, args.cfg_options)
    out_dir = Path(args.out_dir or Path(cfg.work_dir, 'predictions'))
    source = Path(args.image)
    if source.is_dir():
        root, paths = source, find_images(source, exclude=out_dir)
    elif source.is_file():
        root, paths = source.parent, [str(source)]
    else:
        raise UserError(
            f'{source}: no such file or folder; give an image or a folder '
            'of images.'
        )
    infer = FoundationXInferencer(
        cfg,
        args.checkpoint,
        weights=args.weights,
        tasks=args.tasks,
        device=args.device,
        trust=args.trust,
    )
    n_failed = 0
    names = output_names(paths, root)
    results = infer.iterate(paths, args.batch_size, skip_unreadable=True)
    for name, result in zip(names, results, strict=True):
        if result.error is not None:
            n_failed += 1
            print(f'error: {result.error}', file=sys.stderr)
            continue
        try:
            save(result, out_dir / name, infer, args.score_thr)
        except OSError as error:
            raise UserError(
                f'{out_dir / name}: the results cannot be written '
                f'({error.strerror}); give another --out-dir.'
            ) from error
        print(f'{result.path} -> {out_dir / name}.png, .json')
    if n_failed:
        print(
            f'error: {n_failed} of {len(paths)} images could not be read.',
            file=sys.stderr,
        )
    return 1 if n_failed else 0


if __name__ == '__main__':
    run_tool(main)
