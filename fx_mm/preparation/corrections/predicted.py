"""What ``tools/predict.py`` wrote."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fx_mm.preparation.corrections.annotated import (
    AnnotatedImage,
    Box,
    Head,
    Heads,
)
from fx_mm.preparation.mask_files import MaskFile
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_json

HINT = 'give the folder that tools/predict.py wrote'


def read_predictions(
    folder: str | Path,
    img_dir: str | Path | None = None,
    min_score: float = 0.3,
) -> tuple[Heads, list[AnnotatedImage]]:
    """Read the predictions of a folder.

    Args:
        folder (str | Path): What ``tools/predict.py`` wrote.
        img_dir (str | Path, optional): Folder that images are named below.
            Defaults to None: the deepest that holds all of them.
        min_score (float): Boxes and labels with a lower score are left out;
            of exclusive labels the best stays. Defaults to 0.3.

    Returns:
        tuple: The tasks that can be annotated (numbers cannot), and the
        images by name.

    Raises:
        UserError: If there is nothing to export, images have other tasks
            than others, boxes were left out above ``min_score``, or an image
            is outside of ``img_dir``.
    """
    contents = [
        (path, content)
        for path in sorted(Path(folder).rglob('*.json'))
        if _is_prediction(content := read_json(path, HINT))
    ]
    if not contents:
        raise UserError(f'{folder} has no predictions; {HINT}.')
    heads = _heads(contents[0][1])
    if not heads:
        raise UserError(
            f'{folder} has predictions of numbers alone, which cannot be '
            'annotated; predict labels, boxes or masks.'
        )
    places = [
        Path(os.path.abspath(content['image'])) for _, content in contents
    ]
    root = Path(
        os.path.abspath(img_dir)
        if img_dir
        else os.path.commonpath([p.parent for p in places])
    )
    images = []
    for (path, content), place in zip(contents, places):
        if _heads(content) != heads:
            raise UserError(
                f'{path} has other tasks than {contents[0][0]}; give the '
                'predictions of one call of tools/predict.py.'
            )
        if not place.is_relative_to(root):
            raise UserError(
                f'{path}: the image {place} is not below {root}; give '
                '--img-dir a folder that holds all images.'
            )
        name = place.relative_to(root).as_posix()
        images.append(_image(name, content, path, min_score))
    return heads, images


def _is_prediction(content: Any) -> bool:
    return isinstance(content, dict) and {'image', 'tasks', 'height'} <= set(
        content
    )


def _heads(content: Mapping[str, Any]) -> Heads:
    heads: Heads = {}
    for task, found in content['tasks'].items():
        exclusive = found.get('label_type') == 'multi-class'
        if 'probabilities' in found:
            classes = tuple(found['probabilities'])
            heads[task] = Head('labels', classes, exclusive)
        elif 'boxes' in found:
            if 'classes' not in found:
                raise UserError(
                    f'the predictions of {task} do not name its classes, as '
                    'those of older versions; predict again.'
                )
            heads[task] = Head('boxes', tuple(found['classes']))
        elif 'masks' in found:
            heads[task] = Head('masks', tuple(found['masks']))
    return heads


def _image(
    name: str, content: Mapping[str, Any], path: Path, min_score: float
) -> AnnotatedImage:
    image = AnnotatedImage(name, content['height'], content['width'])
    for task, found in content['tasks'].items():
        if 'probabilities' in found:
            image.labels[task] = _labels(found, min_score)
        elif 'boxes' in found:
            if found['score_thr'] > min_score:
                raise UserError(
                    f'{path}: boxes of {task} below {found["score_thr"]} were '
                    'left out; predict with a lower --score-thr, or export '
                    'with a higher --min-score.'
                )
            image.boxes[task] = [
                Box(tuple(box['box']), box['label'], box['score'])
                for box in found['boxes']
                if box['score'] >= min_score
            ]
        elif 'masks' in found:
            image.masks[task] = {
                label: functools.partial(
                    MaskFile(path.parent / mask['file']).draw,
                    image.height,
                    image.width,
                )
                for label, mask in found['masks'].items()
                if mask['area']
            }
    return image


def _labels(found: Mapping[str, Any], min_score: float) -> dict[str, float]:
    scores = {
        label: score
        for label, score in found['probabilities'].items()
        if score is not None
    }
    if found.get('label_type') == 'multi-class':
        best: Sequence[str] = sorted(scores, key=scores.__getitem__)[-1:]
        return {label: scores[label] for label in best}
    return {k: score for k, score in scores.items() if score >= min_score}
