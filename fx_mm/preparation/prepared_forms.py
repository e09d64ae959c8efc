"""The three forms of annotation: their files written, counted, read back."""

import csv
import io
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.image_io.masks import IGNORE
from fx_mm.preparation.prepared_image import (
    PREPARED,
    PreparedImage,
    PreparedRecord,
)
from fx_mm.preparation.raw_dataset import RawDataset, RawImage
from fx_mm.utils.text_files import read_json

_HINT = 'prepare the dataset again'
Fields = dict[str, Any]
"""Some attributes of a :class:`PreparedRecord`."""


@dataclass(frozen=True)
class SplitContent:
    """What the file of one split says.

    Attributes:
        dataset (str): Name of the dataset.
        file (str): The file, relative to the dataset's ``data_root``.
        classes (Sequence[str]): Class names.
        metadata (Sequence[str]): Names of the further columns.
        images (Sequence[tuple]): The images, raw and prepared.
    """

    dataset: str
    file: str
    classes: Sequence[str]
    metadata: Sequence[str]
    images: Sequence[tuple[RawImage, PreparedImage]]


class PreparedForm(ABC):
    """One form of annotation: labels, boxes or masks.

    Attributes:
        noun (str): One annotation, for messages.
        reader (str): Class in ``READERS`` that reads its files in training.
        suffix (str): How its files end.
    """

    noun: ClassVar[str]
    reader: ClassVar[str]
    suffix: ClassVar[str]

    @abstractmethod
    def has(self, image: RawImage, raw: RawDataset) -> bool:
        """Return whether somebody annotated the image in this form."""

    @abstractmethod
    def write(self, content: SplitContent) -> str:
        """Return the text of a split's file."""

    @abstractmethod
    def read(
        self, path: Path, classes: Sequence[str]
    ) -> Iterator[tuple[str, Fields]]:
        """Yield the name of each image of a file and what it says of it."""

    @abstractmethod
    def classes_of(self, raw: RawImage, image: PreparedImage) -> Iterable[str]:
        """Return the classes that an image has."""

    @abstractmethod
    def presence(
        self, record: PreparedRecord, classes: Sequence[str]
    ) -> dict[str, bool] | None:
        """Return whether an image has a class, for the classes that are
        known; None if the image is not annotated in this form.
        """

    def count(self, content: SplitContent) -> dict[str, Any]:
        """Count a split's images, and those of each class."""
        number = dict.fromkeys(content.classes, 0)
        for image in content.images:
            for name in self.classes_of(*image):
                if name in number:
                    number[name] += 1
        return dict(images=len(content.images), classes=number)


class LabelForm(PreparedForm):
    """Image labels, in a CSV table with one column per class."""

    noun = 'label'
    reader = 'CsvLabelReader'
    suffix = '.csv'

    def has(self, image: RawImage, raw: RawDataset) -> bool:
        return image.labels is not None

    def write(self, content: SplitContent) -> str:
        """Write image, patient, metadata and labels.

        Labels are as the raw dataset has them; None becomes blank.
        """

        def row(raw: RawImage) -> list[str]:
            labels = raw.labels or {}
            cells = [raw.metadata.get(key) for key in content.metadata]
            cells += [labels.get(name) for name in content.classes]
            return [raw.name, raw.patient, *map(_cell, cells)]

        return _csv(
            ('image', 'patient', *content.metadata, *content.classes),
            (row(raw) for raw, _ in content.images),
        )

    def read(
        self, path: Path, classes: Sequence[str]
    ) -> Iterator[tuple[str, Fields]]:
        for image, patient, cells in _rows(path, classes):
            labels = dict(zip(classes, cells))
            yield image, dict(patient=patient, labels=labels)

    def classes_of(self, raw: RawImage, image: PreparedImage) -> Iterable[str]:
        return [n for n, value in (raw.labels or {}).items() if value == 1]

    def presence(
        self, record: PreparedRecord, classes: Sequence[str]
    ) -> dict[str, bool] | None:
        if record.labels is None:
            return None
        return {
            name: text == '1'
            for name, text in record.labels.items()
            if text in ('0', '1')
        }


class BoxForm(PreparedForm):
    """Boxes, in a COCO file; images without boxes are in it."""

    noun = 'box'
    reader = 'CocoReader'
    suffix = '.json'

    def has(self, image: RawImage, raw: RawDataset) -> bool:
        from_masks = raw.box_per is not None and image.masks is not None
        return image.boxes is not None or from_masks

    def write(self, content: SplitContent) -> str:
        ids = {name: n for n, name in enumerate(content.classes, 1)}
        images: list[Fields] = []
        annotations: list[Fields] = []
        for number, (raw, image) in enumerate(content.images, 1):
            images.append(
                dict(
                    id=number,
                    file_name=image.name,
                    width=image.width,
                    height=image.height,
                    patient=raw.patient,
                )
            )
            for name, x1, y1, x2, y2 in image.boxes or ():
                width, height = round_plain(x2 - x1), round_plain(y2 - y1)
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=number,
                        category_id=ids[name],
                        bbox=[x1, y1, width, height],
                        area=round_plain(width * height),
                        iscrowd=0,
                    )
                )
        return json.dumps(
            dict(
                info=dict(description=f'{content.dataset}, prepared by fx_mm'),
                images=images,
                annotations=annotations,
                categories=[dict(id=n, name=name) for name, n in ids.items()],
            )
        )

    def read(
        self, path: Path, classes: Sequence[str]
    ) -> Iterator[tuple[str, Fields]]:
        content = read_json(path, _HINT)
        names = {entry['id']: entry['name'] for entry in content['categories']}
        boxes: dict[int, list[Any]] = {e['id']: [] for e in content['images']}
        for entry in content['annotations']:
            boxes[entry['image_id']].append(
                (names[entry['category_id']], *entry['bbox'])
            )
        for entry in content['images']:
            yield (
                entry['file_name'],
                dict(
                    patient=entry['patient'],
                    size=(entry['width'], entry['height']),
                    boxes=boxes[entry['id']],
                ),
            )

    def classes_of(self, raw: RawImage, image: PreparedImage) -> Iterable[str]:
        return {box[0] for box in image.boxes or ()}

    def presence(
        self, record: PreparedRecord, classes: Sequence[str]
    ) -> dict[str, bool] | None:
        if record.boxes is None:
            return None
        named = {name for name, *_ in record.boxes}
        return {name: name in named for name in classes}

    def count(self, content: SplitContent) -> dict[str, Any]:
        """Count a split's images and boxes, and the images of each class."""
        boxes = sum(len(image.boxes or ()) for _, image in content.images)
        return dict(super().count(content), boxes=boxes)


class MaskForm(PreparedForm):
    """Masks, in a CSV table of paths with one column per class.

    Paths are relative to the table's own folder; a cell is blank where the
    mask is empty. A further column tells of pixels that nobody annotated,
    where there are any.
    """

    noun = 'mask'
    reader = 'MaskReader'
    suffix = '.csv'

    def has(self, image: RawImage, raw: RawDataset) -> bool:
        return image.masks is not None

    def write(self, content: SplitContent) -> str:
        folder = os.path.dirname(content.file)
        columns = list(content.classes)
        if any(IGNORE in (image.masks or ()) for _, image in content.images):
            columns.append(IGNORE)

        def row(raw: RawImage, image: PreparedImage) -> list[str]:
            paths = {
                name: os.path.relpath(f'{PREPARED}/{path}', folder)
                for name, path in (image.masks or {}).items()
            }
            cells = [paths.get(name, '') for name in columns]
            return [raw.name, raw.patient, *cells]

        return _csv(
            ('image', 'patient', *columns),
            (row(*image) for image in content.images),
        )

    def read(
        self, path: Path, classes: Sequence[str]
    ) -> Iterator[tuple[str, Fields]]:
        columns = list(classes)
        if IGNORE in CsvTable(path, _HINT) and IGNORE not in columns:
            columns.append(IGNORE)
        for image, patient, cells in _rows(path, columns):
            masks = {name: cell for name, cell in zip(columns, cells) if cell}
            yield image, dict(patient=patient, masks=masks)

    def classes_of(self, raw: RawImage, image: PreparedImage) -> Iterable[str]:
        return image.masks or {}

    def presence(
        self, record: PreparedRecord, classes: Sequence[str]
    ) -> dict[str, bool] | None:
        if record.masks is None:
            return None
        return {name: name in record.masks for name in classes}


FORMS: Mapping[str, PreparedForm] = dict(
    labels=LabelForm(), boxes=BoxForm(), masks=MaskForm()
)


def _rows(
    path: Path, classes: Sequence[str]
) -> Iterator[tuple[str, str, list[str]]]:
    table = CsvTable(path, _HINT)
    for _, (image, patient, *cells) in table.rows(
        'image', 'patient', *classes
    ):
        yield image, patient, cells


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or isinstance(value, float) and math.isnan(value):
        return ''
    if isinstance(value, (bool, float)):
        return f'{value:g}'
    return str(value)


def round_plain(value: float) -> float | int:
    """Round to a thousandth; a whole number loses its point."""
    return int(value) if value == int(value) else round(value, 3)
