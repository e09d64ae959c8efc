"""What the prepared tables say, read as they are."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fx_mm.preparation.dataset_spec import Target
from fx_mm.preparation.manifest import hash_file
from fx_mm.utils.errors import UserError


@dataclass
class Stored:
    """What the prepared files say of one image.

    Attributes:
        name (str): Relative to the folder of the images.
        patient (str): Whom it shows.
        parts (dict): Kind to the part that it is in.
        labels (dict, optional): Class to the text of its label.
        size (tuple, optional): (width, height) of the COCO file.
        boxes (list, optional): (class, x, y, width, height).
        masks (dict, optional): Class to its mask's path, of those that have
            one.
    """

    name: str
    patient: str = ''
    parts: dict = field(default_factory=dict)
    labels: dict | None = None
    size: tuple | None = None
    boxes: list | None = None
    masks: dict | None = None

    def classes(self) -> set:
        """Give the classes that the image has, of any kind."""
        labels = self.labels or {}
        found = {name for name, text in labels.items() if text == '1'}
        found.update(name for name, *_ in self.boxes or ())
        return found.union(self.masks or ())


def read_tables(target: Target, tables: dict, problems: dict) -> list:
    """Read the prepared tables as they are.

    Args:
        target (Target): The dataset.
        tables (dict): File to its checksum, by the manifest.
        problems (dict): Takes what is wrong with the files.

    Returns:
        list[Stored]: All images.
    """
    images: dict = {}
    for kind, task in target.tasks.items():
        for part, file in task.files.items():
            if file not in tables:
                continue
            path = target.root / file
            if not path.is_file():
                problems['tables are missing'].append(file)
                continue
            if hash_file(path) != tables[file]:
                problems['tables were changed'].append(file)
            for name, facts in _read_table(kind, path, task.classes):
                image = images.setdefault(name, Stored(name))
                image.parts[kind] = part
                for key, value in facts.items():
                    setattr(image, key, value)
    return list(images.values())


def _read_table(kind: str, path: Path, classes: Sequence[str]) -> list:
    try:
        if kind == 'loc':
            return _read_boxes(json.loads(path.read_text(encoding='utf-8')))
        with path.open(encoding='utf-8', newline='') as file:
            rows = list(csv.DictReader(file))
        key = 'labels' if kind == 'cls' else 'masks'
        return [
            (
                row['image'],
                {
                    'patient': row['patient'],
                    key: {
                        name: row[name]
                        for name in classes
                        if kind == 'cls' or row[name]
                    },
                },
            )
            for row in rows
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} was damaged after it was written ({error!r}); prepare '
            'the dataset again with --force.'
        ) from error


def _read_boxes(content: dict) -> list:
    names = {entry['id']: entry['name'] for entry in content['categories']}
    boxes: dict = {entry['id']: [] for entry in content['images']}
    for entry in content['annotations']:
        boxes[entry['image_id']].append(
            (names[entry['category_id']], *entry['bbox'])
        )
    return [
        (
            entry['file_name'],
            dict(
                patient=entry['patient'],
                size=(entry['width'], entry['height']),
                boxes=boxes[entry['id']],
            ),
        )
        for entry in content['images']
    ]
