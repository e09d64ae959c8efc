"""Annotations in the files that the readers of a training read."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from fx_mm.preparation.corrections.annotated import (
    AnnotatedImage,
    Head,
    Heads,
    file_stem,
)
from fx_mm.utils.files import write_whole

READERS = dict(labels='CsvLabelReader', boxes='CocoReader', masks='MaskReader')


def write_tables(
    heads: Heads, images: Sequence[AnnotatedImage], folder: str | Path
) -> dict[str, Path]:
    """Write the annotation file of each task.

    Args:
        heads (Heads): The tasks.
        images (Sequence[AnnotatedImage]): Their images.
        folder (str | Path): Where to; masks go into ``masks/`` there.

    Returns:
        dict[str, Path]: Task to its file, for :data:`READERS`.
    """
    files = {}
    for task, head in heads.items():
        stem = Path(folder, file_stem(task))
        if head.form == 'labels':
            text, end = label_table(task, head, images), 'csv'
        elif head.form == 'boxes':
            text, end = json.dumps(box_file(task, head, images)), 'json'
        else:
            text, end = _mask_table(task, head, images, Path(folder)), 'csv'
        files[task] = write_whole(f'{stem}.{end}', text)
    return files


def label_table(
    task: str, head: Head, images: Sequence[AnnotatedImage]
) -> str:
    """Return a table of 0 and 1, one column per class."""
    rows = [
        [image.name, *(int(c in image.labels[task]) for c in head.classes)]
        for image in images
        if task in image.labels
    ]
    return _csv(['image', *head.classes], rows)


def box_file(
    task: str, head: Head, images: Sequence[AnnotatedImage]
) -> dict[str, Any]:
    """Return a COCO file of boxes; ids count from 1, as CVAT wants them."""
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        for box in image.boxes.get(task, ()):
            x1, y1, x2, y2 = box.corners
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=head.classes.index(box.label) + 1,
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=0,
                    segmentation=[],
                    score=box.score,
                )
            )
    return dict(
        images=[
            dict(
                id=number,
                file_name=image.name,
                width=image.width,
                height=image.height,
            )
            for number, image in enumerate(images, 1)
        ],
        categories=[
            dict(id=number, name=name)
            for number, name in enumerate(head.classes, 1)
        ],
        annotations=annotations,
    )


def _mask_table(
    task: str, head: Head, images: Sequence[AnnotatedImage], folder: Path
) -> str:
    """Write the masks, and return the table with their files."""
    rows = []
    for image in images:
        if task not in image.masks:
            continue
        row = [image.name]
        for index, label in enumerate(head.classes):
            read = image.masks[task].get(label)
            mask = None if read is None else read()
            if mask is None or not mask.any():
                row.append('')
                continue
            end = re.sub(r'\W+', '_', f'{file_stem(task)}_{index:02d}_{label}')
            place = f'masks/{image.name}_{end}.png'
            _, data = cv2.imencode('.png', mask.astype('uint8') * 255)
            write_whole(folder / place, data.tobytes())
            row.append(place)
        rows.append(row)
    return _csv(['image', *head.classes], rows)


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
