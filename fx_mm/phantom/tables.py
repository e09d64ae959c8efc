"""Tables of what is known of drawn images."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from fx_mm.phantom.draw_findings import FINDINGS
from fx_mm.phantom.hospitals import Hospital
from fx_mm.phantom.render import ORGANS, TARGETS

MASK_CLASSES = (*ORGANS, *FINDINGS)
"""Class of each bit of a mask file."""

_INFO = dict(
    description='Procedurally drawn chest X-rays of fx_mm; no patient data'
)

Row = dict[str, Any]
"""What the tables say of an image: name, labels, boxes, texts and more."""


def write_tables(
    habits: Hospital, split: str, entries: Sequence[Row], size: int
) -> Iterator[tuple[str, str]]:
    """Yield name and content of the annotation files of a split."""
    rows = [[entry['name'], *entry['labels']] for entry in entries]
    yield f'{split}.csv', _csv(FINDINGS, rows)
    if 'boxes' in habits.annotations:
        yield f'{split}.json', json.dumps(_coco(entries, size))
    if 'masks' in habits.annotations:
        rows = [
            [entry['name']]
            + [
                f'masks/{entry["name"]}#{bit}'
                if name in entry['classes']
                else ''
                for bit, name in enumerate(MASK_CLASSES)
            ]
            for entry in entries
        ]
        yield f'{split}_masks.csv', _csv(MASK_CLASSES, rows)
    if 'numbers' in habits.annotations:
        rows = [
            [entry['name']]
            + [f'{entry["values"][name]:.4f}' for name in TARGETS]
            for entry in entries
        ]
        yield f'{split}_values.csv', _csv(TARGETS, rows)


def write_texts(
    split: str, entries: Sequence[Row]
) -> Iterator[tuple[str, str]]:
    """Yield name and content of what is written about a split."""
    rows = [[entry['name'], entry['report']] for entry in entries]
    yield f'{split}_reports.csv', _csv(('report',), rows)
    rows = [
        [entry['name'], *each]
        for entry in entries
        for each in entry['questions']
    ]
    yield f'{split}_questions.csv', _csv(('question', 'answer'), rows)


def _csv(classes: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', *classes])
    writer.writerows(rows)
    return text.getvalue()


def _coco(entries: Sequence[Row], size: int) -> dict[str, Any]:
    images: list[Row] = []
    annotations: list[Row] = []
    for number, entry in enumerate(entries, start=1):
        images.append(
            dict(id=number, file_name=entry['name'], width=size, height=size)
        )
        for name, (x1, y1, x2, y2) in entry['boxes']:
            width, height = x2 - x1, y2 - y1
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=FINDINGS.index(name) + 1,
                    bbox=[x1, y1, width, height],
                    area=width * height,
                    iscrowd=0,
                )
            )
    categories = [
        dict(id=number, name=name)
        for number, name in enumerate(FINDINGS, start=1)
    ]
    return dict(
        info=_INFO,
        images=images,
        annotations=annotations,
        categories=categories,
    )
