"""Boxes from a COCO annotation file."""

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fx_mm.datasets.readers.base import BaseReader, annotation_of
from fx_mm.datasets.readers.images import ImageNames
from fx_mm.datasets.readers.patient_ids import read_patient
from fx_mm.datasets.records import Ragged, Records
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.utils.memory import without_garbage_collection
from fx_mm.utils.text_files import read_json

MADE_UP = 2
"""Boxes of each made-up image."""

IMAGE_KEYS = ('id', 'file_name', 'width', 'height')
BOX_KEYS = ('image_id', 'category_id', 'bbox')
FIRST_PIXEL = 1.001
"""Where boxes end at most that are in shares of the image, rounded."""
ROUNDED = 2
"""Pixels that a box may reach beyond its image by rounding."""
FEW, MANY = 3, 0.1
"""Boxes, and their share, that reach farther if they are corners."""
NO_BOX = (np.nan,) * 4
NUMBERS = frozenset((int, float))
Labels = dict[Any, tuple[str, int | None]]
"""Category id to its name and class index, None if it is not a class."""


@READERS.register_module()
class CocoReader(BaseReader):
    """Reads boxes from COCO's json (``images``, ``annotations``,
    ``categories``), categories by NAME, whatever their ids.

    Boxes that reach beyond the image are cut at its border; boxes without
    area or outside the image are refused. Images without boxes stay in. The
    file may be gzipped.

    Args:
        merge_classes (bool): Whether all categories become the task's single
            class (category-agnostic localization). Defaults to False.
        kwargs: See :class:`BaseReader`.
    """

    def __init__(self, merge_classes: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.merge_classes = merge_classes

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make up ``gt_bboxes``: two, an eighth to half a side."""
        sides = rng.uniform(0.125, 0.5, (MADE_UP, 2))
        corners = rng.uniform(0, 1 - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1) * size
        labels = rng.integers(len(task.classes), size=MADE_UP)
        return dict(
            gt_bboxes=boxes.astype(np.float32), gt_bboxes_labels=labels
        )

    def __call__(self, ann_file: str, img_dir: str, task: Task) -> Records:
        """Read one split; see :class:`BaseReader`.

        Returns:
            Records: Records that also have ``ann_size`` (np.ndarray): int64
            (width, height) that the file gives for the image, so that
            loading can refuse boxes of another scale.
        """
        with without_garbage_collection():
            return self._read(ann_file, img_dir, task)

    def patients(self, ann_file: str, task: Task) -> dict[str, str]:
        """Read the entries ``patient`` of images, or the like.

        See :class:`BaseReader`.
        """
        images = self._load(ann_file, task)['images']
        keys = dict.fromkeys(itertools.chain.from_iterable(images))
        name = self.find_patient(ann_file, "the images'", keys)
        if name is None:
            return {}
        return {
            str(image['file_name']).strip(): patient
            for image in images
            if (patient := read_patient(image.get(name))) is not None
        }

    def names(self, ann_file: str, task: Task) -> Iterator[str]:
        """Read the images' names alone; see :class:`BaseReader`."""
        for entry in self._load(ann_file, task)['images']:
            if isinstance(entry, dict) and entry.get('file_name'):
                yield str(entry['file_name']).strip()

    def _read(self, ann_file: str, img_dir: str, task: Task) -> Records:
        content = self._load(ann_file, task)
        labels = self._labels(content['categories'], ann_file, task)
        images = self.images(ann_file, img_dir, 'image')
        entries = content['images']
        known: dict[Any, int] = {}
        listed: list[list[float]] = []
        rows = _columns(entries, IMAGE_KEYS, f'{ann_file}, image')
        for number, (key, name, *size) in enumerate(rows, 1):
            if _find(known, key) is not None:
                raise UserError(
                    f'{ann_file}, image {number}: image id {key} was there '
                    'before; ids must differ.'
                )
            _check_id(key, f'{ann_file}, image {number}')
            known[key] = -1
            if images.add(str(name), number):
                known[key] = len(listed)
                listed.append(size)
        images.finish()
        boxes = _Boxes(content['annotations'], ann_file, known, images.names)
        sizes = _whole_numbers(listed, images, ann_file)
        corners = boxes.corners(sizes)
        order = np.argsort(boxes.image, kind='stable')
        counts = np.bincount(boxes.image, minlength=len(sizes))
        found = boxes.labels(labels, task)
        return Records.of_columns(
            img_path=images.paths,
            img_id=images.names,
            ann_size=sizes,
            boxes=Ragged(corners[order], counts),
            box_labels=Ragged(found[order], counts),
        )

    @staticmethod
    def _load(ann_file: str, task: Task) -> dict[str, list[Any]]:
        content = read_json(ann_file, annotation_of(task, ann_file))
        if not isinstance(content, dict):
            raise UserError(
                f'{ann_file}: is not a COCO file, which is an object of '
                'images, annotations and categories.'
            )
        keys = ('images', 'annotations', 'categories')
        _require(content, keys, ann_file)
        for key in keys:
            if not isinstance(content[key], list):
                raise UserError(f'{ann_file}: "{key}" is not a list.')
        return content

    def _labels(
        self, categories: list[Any], ann_file: str, task: Task
    ) -> Labels:
        """Map category ids to (name, class index or None if unknown)."""
        names: dict[Any, str] = {}
        for number, entry in enumerate(categories, 1):
            where = f'{ann_file}, category {number}'
            _require(entry, ('id', 'name'), where)
            key, name = entry['id'], _plain(str(entry['name']))
            _check_id(key, where)
            if names.setdefault(key, name) != name:
                raise UserError(
                    f'{where}: id {key} is that of "{names[key]}" as well; '
                    'ids must differ.'
                )
        if self.merge_classes:
            if len(task.classes) != 1:
                raise UserError(
                    f'Task {task.name} merges all categories and needs one '
                    f'class, not {len(task.classes)}.'
                )
            return {i: (name, 0) for i, name in names.items()}
        for name in task.classes:
            if _plain(name) not in names.values():
                raise UserError(
                    f'{ann_file}: has no category "{name}" (a class of task '
                    f'{task.name}); it has: {", ".join(names.values())}.'
                )
        index = {_plain(name): i for i, name in enumerate(task.classes)}
        return {i: (name, index.get(name)) for i, name in names.items()}


class _Boxes:
    """The annotations of the images that are kept, by column.

    Attributes:
        image (np.ndarray): int64 (n,), number of the box's image.
    """

    def __init__(
        self,
        entries: list[Any],
        ann_file: str,
        known: dict[Any, int],
        names: Sequence[str],
    ) -> None:
        self._ann_file = ann_file
        self._names = names
        rows = _columns(entries, BOX_KEYS, f'{ann_file}, annotation')
        # number in the file, image, category, box; the image's id
        self._kept: list[tuple[int, int, Any, Any, Any]] = []
        for number, (image, category, box) in enumerate(rows):
            index = _find(known, image)
            if index is None:
                raise UserError(
                    f'{ann_file}, annotation {number + 1}: image id '
                    f'{_unlike(image, known)} is not among the images.'
                )
            if index >= 0:  # among img_ids
                self._kept.append((number, index, category, box, image))
        self.image = np.array([kept[1] for kept in self._kept], np.int64)
        for row, (number, *_) in enumerate(self._kept):
            if entries[number].get('iscrowd'):
                raise UserError(
                    f'{self._where(row)}: crowd regions (iscrowd=1) are not '
                    'supported; give each finding its own box.'
                )
            if entries[number].get('ignore'):
                raise UserError(
                    f'{self._where(row)}: ignored regions (ignore=1) are not '
                    'supported; leave the annotation out.'
                )

    def _where(self, row: int) -> str:
        number, image, *_, key = self._kept[row]
        return (
            f'{self._ann_file}, annotation {number + 1} (image {key}, '
            f'"{self._names[image]}")'
        )

    def labels(self, labels: Labels, task: Task) -> np.ndarray:
        """Return the class index of each box, int64 (n,)."""
        found = np.empty(len(self._kept), np.int64)
        for row, (_, _, category, *_) in enumerate(self._kept):
            entry = _find(labels, category)
            if entry is None:
                raise UserError(
                    f'{self._where(row)}: category id '
                    f'{_unlike(category, labels)} is not among the '
                    'categories.'
                )
            name, label = entry
            if label is None:
                raise UserError(
                    f'{self._where(row)}: category "{name}" is not a class '
                    f'of task {task.name}; add it to its classes or set '
                    'merge_classes.'
                )
            found[row] = label
        return found

    def corners(self, sizes: np.ndarray) -> np.ndarray:
        """Turn COCO's (x, y, w, h) into xyxy within the image.

        Args:
            sizes (np.ndarray): int64 (images, 2), widths and heights.

        Returns:
            np.ndarray: float32 (n, 4).
        """
        boxes = [_four(kept[3]) for kept in self._kept]
        values: np.ndarray = np.array(boxes, np.float64).reshape(-1, 4)
        self._refuse(
            ~np.isfinite(values).all(axis=1),
            'box {box} is not four numbers; a box is x, y, width, height',
        )
        flat = np.any(values[:, 2:] <= 0, axis=1)
        no_area = 'box {box} has no area; a box is x, y, width, height'
        self._refuse(flat, no_area)
        limits = sizes[self.image]
        with np.errstate(over='ignore'):
            shares = np.all(
                (values[:, :2] >= 0)
                & (values[:, :2] + values[:, 2:] <= FIRST_PIXEL)
                & (limits > 1)
            )
        self._refuse(
            np.full(len(values), shares),
            'box {box} lies within the first pixel, as all boxes of the file '
            'do, so they are in shares of the image; write pixels',
        )
        self._refuse_corners(values, limits)
        low = np.maximum(values[:, :2], 0)
        with np.errstate(over='ignore'):
            high = np.minimum(values[:, :2] + values[:, 2:], limits)
        self._refuse(
            (high <= low).any(axis=1),
            'box {box} lies outside its image of {size[0]}x{size[1]} pixels; '
            'is it of another scale?',
            limits,
        )
        corners = np.concatenate([low, high], 1).astype(np.float32)
        # thinner than what single precision can tell
        self._refuse((corners[:, 2:] <= corners[:, :2]).any(axis=1), no_area)
        return corners

    def _refuse_corners(self, values: np.ndarray, limits: np.ndarray) -> None:
        """Refuse boxes that are x1, y1, x2, y2: cut at the border, they fit.

        All are such corners, and many reach beyond as COCO's boxes.
        """
        with np.errstate(over='ignore'):
            beyond = values[:, :2] + values[:, 2:] > limits + ROUNDED
        ends = values[:, 2:]
        corners = (ends > values[:, :2]) & (ends <= limits + ROUNDED)
        many = beyond.any(axis=1)
        if corners.all() and many.sum() >= max(FEW, MANY * len(many)):
            self._refuse(
                many,
                'box {box} reaches beyond its image of {size[0]}x{size[1]} '
                'pixels, as many boxes of the file do, while all of them fit '
                'as x1, y1, x2, y2; write x, y, width, height',
                limits,
            )

    def _refuse(
        self,
        wrong: np.ndarray,
        reason: str,
        sizes: np.ndarray | None = None,
    ) -> None:
        for row in wrong.nonzero()[0][:1]:
            box = repr(self._kept[row][3])
            text = reason.format(
                box=box if len(box) <= 100 else f'{box[:100]} ...',
                size=None if sizes is None else sizes[row],
            )
            raise UserError(f'{self._where(row)}: {text}.')


def _find(known: dict[Any, Any], key: Any) -> Any:
    """Return what an id stands for; None also if it can be none.

    A list or an object cannot, nor can a truth value, which is 0 or 1 to
    Python.
    """
    try:
        return None if isinstance(key, bool) else known.get(key)
    except TypeError:
        return None


def _unlike(key: Any, known: dict[Any, Any]) -> str:
    """Return an id that is unknown, and how it differs from a known one."""
    if isinstance(key, bool):
        return f'{key} (neither a number nor a text)'
    if isinstance(key, str) and any(str(each) == key for each in known):
        return f'"{key}" (a text, while {key} there is a number)'
    if str(key) in known:
        return f'{key} (a number, while "{key}" there is a text)'
    return f'{key}'


def _whole_numbers(
    sizes: list[list[float]], images: ImageNames, ann_file: str
) -> np.ndarray:
    """Return widths and heights as int64 (n, 2)."""
    for name, size in zip(images.names, sizes):
        if not all(map(_is_side, size)):
            raise UserError(
                f'{ann_file}: image "{name}" has the width and height '
                f'{size}; write whole numbers of pixels.'
            )
    return np.array(sizes, np.int64).reshape(-1, 2)


def _is_side(value: Any) -> bool:
    """Whether a value is a whole number of pixels."""
    whole = type(value) is int or type(value) is float and value.is_integer()
    return whole and 0 < value < 2**31


def _columns(
    entries: list[Any], keys: Sequence[str], where: str
) -> list[tuple[Any, ...]]:
    """Return the values of the keys, one tuple per entry."""
    try:
        return [tuple([entry[key] for key in keys]) for entry in entries]
    except (KeyError, TypeError, IndexError):
        for number, entry in enumerate(entries, 1):
            place = f'{where} {number}'
            if isinstance(entry, dict) and 'image_id' in entry:
                place += f' (image {entry["image_id"]})'
            _require(entry, keys, place)
        raise


def _require(entry: Any, keys: Sequence[str], where: str) -> None:
    """Check that a json object has the keys."""
    if not isinstance(entry, dict):
        raise UserError(f'{where}: is not a json object, but {entry!r}.')
    for key in keys:
        if key not in entry:
            raise UserError(
                f'{where}: has no "{key}"; it has: '
                f'{", ".join(map(str, entry)) or "nothing"}.'
            )


def _four(box: Any) -> Sequence[float]:
    """Return the numbers of a box, NaN if they are not four.

    Texts and truth values, which Python can turn into numbers, are none.
    """
    if type(box) is not list or len(box) != 4:
        return NO_BOX
    if not NUMBERS.issuperset(map(type, box)):
        return NO_BOX
    try:
        return [float(value) for value in box]
    except OverflowError:
        return NO_BOX


def _check_id(key: Any, where: str) -> None:
    if isinstance(key, bool) or not isinstance(key, (int, float, str)):
        raise UserError(f'{where}: id {key} is neither a number nor a text.')


def _plain(name: str) -> str:
    """Return the name of a category in the one form that is compared."""
    return unicodedata.normalize('NFC', name).strip()
