"""The tables of one split: labels, boxes and masks."""

import csv
import io
import json
import math
import os
from collections.abc import Sequence

from fx_mm.preparation.dataset_spec import PREPARED, TargetTask
from fx_mm.preparation.entries import Entry
from fx_mm.preparation.images import PreparedImage

Rows = Sequence[tuple[Entry, PreparedImage]]


def write_labels(rows: Rows, task: TargetTask, facts: Sequence[str]) -> str:
    """Write a table of labels: image, patient, facts, a column a class.

    Labels are as the release has them; None becomes blank.
    """
    return _csv(
        ('image', 'patient', *facts, *task.classes),
        (
            (
                entry.name,
                entry.patient,
                *(_cell(entry.facts.get(name)) for name in facts),
                *(_cell(entry.labels.get(name)) for name in task.classes),
            )
            for entry, _ in rows
        ),
    )


def write_boxes(rows: Rows, task: TargetTask, dataset: str) -> str:
    """Write a COCO file; images without boxes are in it."""
    ids = {name: number for number, name in enumerate(task.classes, 1)}
    images, annotations = [], []
    for number, (entry, image) in enumerate(rows, 1):
        images.append(
            dict(
                id=number,
                file_name=image.name,
                width=image.width,
                height=image.height,
                patient=entry.patient,
            )
        )
        for name, x1, y1, x2, y2 in image.boxes:
            width, height = _round(x2 - x1), _round(y2 - y1)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=ids[name],
                    bbox=[x1, y1, width, height],
                    area=_round(width * height),
                    iscrowd=0,
                )
            )
    categories = [dict(id=number, name=name) for name, number in ids.items()]
    info = dict(description=f'{dataset}, prepared by fx_mm')
    return json.dumps(
        dict(
            info=info,
            images=images,
            annotations=annotations,
            categories=categories,
        )
    )


def write_masks(rows: Rows, task: TargetTask, file: str) -> str:
    """Write where the masks are, relative to the table's own folder.

    A cell is blank where the mask is empty.
    """
    folder = os.path.dirname(file)

    def cell(path: str | None) -> str:
        return os.path.relpath(f'{PREPARED}/{path}', folder) if path else ''

    return _csv(
        ('image', 'patient', *task.classes),
        (
            (
                entry.name,
                entry.patient,
                *(cell(image.masks.get(name)) for name in task.classes),
            )
            for entry, image in rows
        ),
    )


def _csv(header: Sequence[str], rows) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value) -> str:
    if value is None or isinstance(value, float) and math.isnan(value):
        return ''
    if isinstance(value, (bool, float)):
        return f'{value:g}'
    return str(value)


def _round(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 3)
