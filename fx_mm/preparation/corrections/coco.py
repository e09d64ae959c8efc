"""COCO files, which CVAT and others read and write."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_masks

from fx_mm.preparation.corrections.annotated import (
    AnnotatedImage,
    Head,
    Heads,
    file_stem,
)
from fx_mm.preparation.corrections.tables import box_file, label_table
from fx_mm.preparation.polygons import Polygon
from fx_mm.preparation.run_length import CocoRunLength
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_files import read_json

HINT = 'give the COCO file that the annotation server exported'


def write_coco(
    heads: Heads, images: Sequence[AnnotatedImage], folder: str | Path
) -> list[Path]:
    """Write one file per task: COCO of boxes and masks, a table of labels.

    Args:
        heads (Heads): The tasks.
        images (Sequence[AnnotatedImage]): Their images.
        folder (str | Path): Where to.

    Returns:
        list[Path]: The files: ``phantom_b_loc.json``, ``phantom_a_cls.csv``.
    """
    files = []
    for task, head in heads.items():
        stem = Path(folder, file_stem(task))
        if head.form == 'labels':
            text = label_table(task, head, images)
            files.append(write_whole(f'{stem}.csv', text))
            continue
        content = box_file(task, head, images)
        if head.form == 'masks':
            content['annotations'] = _masks(task, head, images)
        files.append(write_whole(f'{stem}.json', json.dumps(content)))
    return files


def _masks(
    task: str, head: Head, images: Sequence[AnnotatedImage]
) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        for label, read in image.masks.get(task, {}).items():
            code = coco_masks.encode(np.asfortranarray(read(), np.uint8))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=head.classes.index(label) + 1,
                    bbox=coco_masks.toBbox(code).tolist(),
                    area=int(coco_masks.area(code)),
                    iscrowd=0,
                    segmentation=dict(
                        size=code['size'], counts=code['counts'].decode()
                    ),
                )
            )
    return annotations


def read_coco_masks(
    path: str | Path,
) -> tuple[Heads, list[AnnotatedImage]]:
    """Read the masks of a COCO file: polygons or run lengths.

    Args:
        path (str | Path): The file; its stem names the task.

    Returns:
        tuple: One task, and its images; the masks of a class are united.

    Raises:
        UserError: If the file is none, or an annotation has no mask.
    """
    content = read_json(path, HINT)
    try:
        names = {e['id']: str(e['name']) for e in content['categories']}
        images = {
            e['id']: AnnotatedImage(e['file_name'], e['height'], e['width'])
            for e in content['images']
        }
        annotations = list(content['annotations'])
    except (KeyError, TypeError) as error:
        raise UserError(f'{path}: is not a COCO file; {HINT}.') from error
    task = Path(path).stem
    parts: dict[Any, dict[str, list[Any]]] = {key: {} for key in images}
    for number, entry in enumerate(annotations, 1):
        where = f'{path}, annotation {number}'
        try:
            own = parts[entry['image_id']]
            label, code = names[entry['category_id']], entry['segmentation']
        except (KeyError, TypeError) as error:
            raise UserError(
                f'{where}: {error} is missing or unknown; {HINT}.'
            ) from error
        if not code:
            raise UserError(
                f'{where}: has no segmentation; a file of boxes needs no '
                'import, CocoReader reads it.'
            )
        own.setdefault(label, []).append(code)
    for key, image in images.items():
        image.masks[task] = {
            label: _united(codes, image, str(path))
            for label, codes in parts[key].items()
        }
    head = Head('masks', tuple(names.values()))
    return {task: head}, list(images.values())


def _united(codes: list[Any], image: AnnotatedImage, path: str) -> Any:
    """Return what reads the union of masks."""
    where = f'{path}, a segmentation of {image.name}'

    def read() -> np.ndarray:
        mask = np.zeros((image.height, image.width), bool)
        for code in codes:
            if isinstance(code, Mapping):
                if code.get('size') != list(mask.shape):
                    raise UserError(
                        f'{where}: run lengths of the size '
                        f'{code.get("size")}, not {list(mask.shape)}; {HINT}.'
                    )
                mask |= CocoRunLength(code, where).draw(*mask.shape)
                continue
            # pycocotools takes four numbers for a box, and any for a point
            for points in code if isinstance(code, list) else [code]:
                try:
                    corners = np.asarray(points, float).reshape(-1, 2)
                except (TypeError, ValueError):
                    corners = np.zeros((0, 2))
                Polygon(corners.tolist(), where)  # checks them
                parts = coco_masks.frPyObjects(
                    [corners.ravel().tolist()], *mask.shape
                )
                mask |= coco_masks.decode(parts).any(-1)
        return mask

    return read
