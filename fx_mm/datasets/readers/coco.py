"""Boxes from a COCO annotation file."""

import json
import math

import numpy as np

from ...registry import READERS
from ...utils.errors import UserError
from .base import BaseReader, open_text


@READERS.register_module()
class CocoReader(BaseReader):
    """Reads boxes from COCO's json (``images``, ``annotations``,
    ``categories``), categories by NAME, whatever their ids.

    Boxes that reach beyond the image are cut at its border; boxes without
    area or outside the image are refused. Images without boxes stay in.

    Args:
        merge_classes (bool): Whether all categories become the task's single
            class (category-agnostic localization). Defaults to False.
        kwargs: See :class:`BaseReader`.
    """

    def __init__(self, merge_classes: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.merge_classes = merge_classes

    def __call__(self, ann_file: str, img_dir: str, task) -> list[dict]:
        """Read one split; see :class:`BaseReader`.

        Returns:
            list[dict]: Records that also have ``ann_size`` (np.ndarray):
            int64 (width, height) that the file gives for the image, so that
            loading can refuse boxes of another scale.
        """
        content = self._load(ann_file, task)
        labels = self._labels(content['categories'], ann_file, task)
        images = self.images(ann_file, img_dir)
        records: dict = {}
        known = set()
        for number, entry in enumerate(content['images'], 1):
            where = f'image {number}'
            _require(
                entry,
                ('id', 'file_name', 'width', 'height'),
                f'{ann_file}, {where}',
            )
            if entry['id'] in known:
                raise UserError(
                    f'{ann_file}, {where}: image id {entry["id"]} was there '
                    'before; ids must differ.'
                )
            known.add(entry['id'])
            record = images.add(str(entry['file_name']), where)
            if record is not None:
                record['boxes'] = []
                record['ann_size'] = np.array(
                    [entry['width'], entry['height']], np.int64
                )
                records[entry['id']] = record
        images.finish()
        for number, entry in enumerate(content['annotations'], 1):
            where = f'{ann_file}, annotation {number}'
            _require(entry, ('image_id', 'category_id', 'bbox'), where)
            if entry['image_id'] not in known:
                raise UserError(
                    f'{where}: image id {entry["image_id"]} is not among '
                    'the images.'
                )
            record = records.get(entry['image_id'])
            if record is None:
                continue
            where += f' (image "{record["img_id"]}")'
            label = self._label(entry, labels, where, task)
            box = _box(entry['bbox'], record['ann_size'], where)
            record['boxes'].append((box, label))
        return [_finished(record) for record in records.values()]

    @staticmethod
    def _load(ann_file: str, task) -> dict:
        try:
            content = json.loads(''.join(open_text(ann_file, task.name)))
        except json.JSONDecodeError as error:
            raise UserError(
                f'{ann_file}: is not valid JSON (line {error.lineno}: '
                f'{error.msg}); is it cut off?'
            ) from error
        if not isinstance(content, dict):
            raise UserError(f'{ann_file}: is not a COCO file, but a list.')
        _require(content, ('images', 'annotations', 'categories'), ann_file)
        return content

    def _labels(self, categories: list, ann_file: str, task) -> dict:
        """Map category ids to (name, class index or None if unknown)."""
        names = {}
        for number, entry in enumerate(categories, 1):
            _require(entry, ('id', 'name'), f'{ann_file}, category {number}')
            names[entry['id']] = str(entry['name'])
        if self.merge_classes:
            if len(task.classes) != 1:
                raise UserError(
                    f'Task {task.name} merges all categories and needs one '
                    f'class, not {len(task.classes)}.'
                )
            return {i: (name, 0) for i, name in names.items()}
        for name in task.classes:
            if name not in names.values():
                raise UserError(
                    f'{ann_file}: has no category "{name}" (a class of task '
                    f'{task.name}); it has: {", ".join(names.values())}.'
                )
        index = {name: i for i, name in enumerate(task.classes)}
        return {i: (name, index.get(name)) for i, name in names.items()}

    @staticmethod
    def _label(entry: dict, labels: dict, where: str, task) -> int:
        if entry['category_id'] not in labels:
            raise UserError(
                f'{where}: category id {entry["category_id"]} is not among '
                'the categories.'
            )
        name, label = labels[entry['category_id']]
        if label is None:
            raise UserError(
                f'{where}: category "{name}" is not a class of task '
                f'{task.name}; add it to its classes or set merge_classes.'
            )
        if entry.get('iscrowd'):
            raise UserError(
                f'{where}: crowd regions (iscrowd=1) are not supported; give '
                'each finding its own box.'
            )
        return label


def _require(entry, keys: tuple, where: str) -> None:
    """Check that a json object has the keys."""
    if not isinstance(entry, dict):
        raise UserError(f'{where}: is not a json object, but {entry!r}.')
    for key in keys:
        if key not in entry:
            raise UserError(
                f'{where}: has no "{key}"; it has: '
                f'{", ".join(map(str, entry)) or "nothing"}.'
            )


def _box(bbox, size: np.ndarray, where: str) -> tuple:
    """Turn COCO's (x, y, w, h) into xyxy within the image."""
    try:
        x, y, w, h = (float(value) for value in bbox)
        finite = all(map(math.isfinite, (x, y, w, h)))
    except (TypeError, ValueError):
        finite = False
    if not finite:
        raise UserError(f'{where}: box {bbox} is not four numbers x, y, w, h.')
    if w <= 0 or h <= 0:
        raise UserError(
            f'{where}: box {bbox} has no area; a box is x, y, width, height.'
        )
    width, height = (int(value) for value in size)
    x1, x2 = max(x, 0.0), min(x + w, width)
    y1, y2 = max(y, 0.0), min(y + h, height)
    if x2 <= x1 or y2 <= y1:
        raise UserError(
            f'{where}: box {bbox} lies outside its image of '
            f'{width}x{height} pixels; is it of another scale?'
        )
    return x1, y1, x2, y2


def _finished(record: dict) -> dict:
    pairs = record.pop('boxes')
    record['boxes'] = np.array([box for box, _ in pairs], np.float32).reshape(
        -1, 4
    )
    record['box_labels'] = np.array([label for _, label in pairs], np.int64)
    return record
