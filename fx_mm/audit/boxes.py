"""Boxes: outside the image, without area, absurd, drawn twice."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fx_mm.audit.findings import Finding
from fx_mm.datasets.readers.base import annotation_of
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_json

TINY = 0.005
"""Side of a box, as a share of the image's, below which it is absurd."""
HUGE = 0.95
"""Share of the image's width and height above which it is absurd."""
TWICE = 0.95
"""Overlap (IoU) from which two boxes of a class are the same finding."""
SLACK = 1.0
"""Pixels by which a box may pass the image's border."""


def find_box_oddities(
    task: Task, split: str, ann_file: str, sizes: dict[Any, Any] | None = None
) -> Iterator[Finding]:
    """Look at the boxes of a COCO file as they stand there.

    Readers cut boxes at the image's border and stop at the first wrong one;
    this tells of all.

    Args:
        task (Task): The task.
        split (str): Its split.
        ann_file (str): The annotation file.
        sizes (dict, optional): Name of an image to its real (width, height).
            Defaults to None, which compares with none.
    """
    content = _load(task, ann_file)
    if content is None:
        return
    place = (f'{task.name}/{split}',)
    images, boxes, labels, names = content
    if sizes:
        wrong = [
            f'{name}: boxes for {w}x{h}, image has '
            f'{sizes[name][0]}x{sizes[name][1]}'
            for name, w, h in images
            if name in sizes and tuple(sizes[name]) != (w, h)
        ]
        if wrong:
            yield Finding(
                'boxes-scale',
                place,
                'error',
                f'The boxes of {len(wrong)} images are for another size of '
                'the image.',
                len(wrong),
                wrong,
            )
    x, y, w, h, width, height = boxes.T
    # also true of NaN
    empty = ~((w > 0) & (h > 0))
    outside = ~empty & (
        (x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0)
    )
    fine = ~empty & ~outside
    cut = fine & (
        (x < -SLACK)
        | (y < -SLACK)
        | (x + w > width + SLACK)
        | (y + h > height + SLACK)
    )
    tiny = fine & ((w < TINY * width) | (h < TINY * height))
    huge = fine & (w > HUGE * width) & (h > HUGE * height)
    twice = np.zeros(len(boxes), bool)
    twice[_repeated(boxes, labels, names)] = True
    for check, level, which, text in (
        ('boxes-empty', 'error', empty, 'have no area'),
        ('boxes-outside', 'error', outside, 'lie outside their image'),
        ('boxes-cut', 'warning', cut, 'pass the border of their image'),
        ('boxes-tiny', 'warning', tiny, f'are below {TINY:.1%} of an edge'),
        ('boxes-huge', 'warning', huge, 'cover (nearly) the whole image'),
        ('boxes-twice', 'warning', twice, 'repeat another of their class'),
    ):
        count = int(which.sum())
        if count:
            yield Finding(
                check,
                place,
                level,
                f'{count} of {len(boxes)} boxes of {place[0]} {text}.',
                count,
                [
                    f'{names[i]}: {boxes[i, :4].tolist()}'
                    for i in which.nonzero()[0][:20]
                ],
            )


def find_unused_categories(
    task: Task, split: str, ann_file: str
) -> Iterator[Finding]:
    """Find categories of a COCO file that are no class, and the reverse."""
    reader = task.config['reader']
    if reader.get('merge_classes'):
        return
    try:
        content = read_json(ann_file, annotation_of(task, ann_file))
        names = [str(entry['name']) for entry in content['categories']]
    except (UserError, KeyError, TypeError):
        # The reader says what is wrong with it.
        return
    unused = sorted(set(names) - set(task.classes))
    missing = sorted(set(task.classes) - set(names))
    for check, level, found, text in (
        ('unused-classes', 'note', unused, 'categories that are no class'),
        ('missing-classes', 'error', missing, 'no category for the classes'),
    ):
        if found:
            yield Finding(
                check,
                (f'{task.name}/{split}',),
                level,
                f'{ann_file} has {text}: {", ".join(found)}.',
                len(found),
                found,
            )


def _load(task: Task, ann_file: str) -> tuple[Any, ...] | None:
    """Read images and boxes; None if the file is no COCO file.

    Returns:
        tuple: (name, width, height) of the images; float (n, 6) x, y, w, h,
        width and height of the image; category ids; image names of the
        boxes.
    """
    try:
        content = read_json(ann_file, annotation_of(task, ann_file))
        images = {
            entry['id']: (entry['file_name'], entry['width'], entry['height'])
            for entry in content['images']
        }
        rows, labels, names = [], [], []
        for entry in content['annotations']:
            name, width, height = images[entry['image_id']]
            x, y, w, h = map(float, entry['bbox'])
            rows.append((x, y, w, h, width, height))
            labels.append(entry['category_id'])
            names.append(name)
        boxes = np.array(rows, np.float64).reshape(-1, 6)
    except (UserError, ValueError, KeyError, TypeError):
        # The reader says what is wrong with it.
        return None
    return list(images.values()), boxes, labels, names


def _repeated(
    boxes: np.ndarray, labels: list[Any], names: list[Any]
) -> list[int]:
    """Return the boxes that overlap an earlier one of image and class."""
    groups: dict[Any, Any] = {}
    for index, key in enumerate(zip(names, labels)):
        groups.setdefault(key, []).append(index)
    repeated = []
    for members in groups.values():
        if len(members) < 2:
            continue
        x, y, w, h = boxes[members, :4].T
        across = np.minimum.outer(x + w, x + w) - np.maximum.outer(x, x)
        down = np.minimum.outer(y + h, y + h) - np.maximum.outer(y, y)
        overlap = np.maximum(across, 0) * np.maximum(down, 0)
        area = w * h
        with np.errstate(invalid='ignore', divide='ignore'):
            iou = overlap / (np.add.outer(area, area) - overlap)
        later = np.any(np.tril(iou >= TWICE, -1), axis=1)
        repeated += [members[i] for i in later.nonzero()[0]]
    return repeated
