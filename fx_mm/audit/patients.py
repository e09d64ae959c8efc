"""Patients and images that splits share, by their names alone."""

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, cast

from fx_mm.audit.findings import Finding
from fx_mm.audit.task_splits import TaskSplit
from fx_mm.tasks import SPLITS

UNIQUE_ID = re.compile(r'[0-9a-fA-F.-]{20,}')
"""UUIDs, hashes and DICOM UIDs: names that do not coincide by chance."""


class Holding:
    """What a dataset holds in one split, over all its tasks.

    Attributes:
        dataset (str): Name of the dataset.
        split (str): ``train``, ``val`` or ``test``.
        task_splits (list[TaskSplit]): This split of each of its tasks.
        images (dict): Path to name of the image.
        patients (set): Of its images.
    """

    def __init__(self, dataset: str, split: str) -> None:
        self.dataset = dataset
        self.split = split
        self.task_splits: list[TaskSplit] = []
        self.images: dict[Any, Any] = {}
        self.patients: set[str] = set()

    @property
    def name(self) -> str:
        """str: ``dataset/split``."""
        return f'{self.dataset}/{self.split}'

    def add(self, split: TaskSplit) -> None:
        """Add the images of a task."""
        self.task_splits.append(split)
        self.images.update(zip(split.paths, split.names))
        self.patients.update(split.patients)


def holdings(splits: Iterable[TaskSplit]) -> list[Holding]:
    """Join the tasks of each dataset and split, since tasks share images.

    Returns:
        list[Holding]: By name of the dataset and order of the splits, so that
        findings have the same names whatever the order of the tasks.
    """
    found: dict[Any, Any] = {}
    for split in splits:
        key = (split.task.dataset, split.split)
        found.setdefault(key, Holding(*key)).add(split)
    order = sorted(found, key=lambda key: (key[0], SPLITS.index(key[1])))
    return [found[key] for key in order]


def pair_level(a: Holding, b: Holding) -> str | None:
    """Return how bad it is if two holdings share an image or a patient.

    Training shares the backbone among all datasets, so the test images of
    one must not be training images of another.

    Returns:
        str: ``leak``; ``warning`` for validation and test of two datasets;
        ``note`` for the same split of two datasets; None for one holding.
    """
    if a is b:
        return None
    if a.split == b.split:
        return 'note'
    if a.dataset == b.dataset or 'train' in (a.split, b.split):
        return 'leak'
    return 'warning'


def find_shared(splits: Iterable[TaskSplit]) -> list[Finding]:
    """Find what holdings share: patients, images, identifiers, all of it."""
    findings = []
    found = holdings(splits)
    for a, b in combinations(found, 2):
        same = list(_same_split(a, b))
        findings += same or [*_shared_images(a, b), *_shared_patients(a, b)]
    return findings + list(_shared_ids(found))


def _same_split(a: Holding, b: Holding) -> Iterator[Finding]:
    if a.dataset == b.dataset and set(a.images) == set(b.images):
        yield Finding(
            'same-split',
            (a.name, b.name),
            'leak',
            f'{a.name} and {b.name} are the same {len(a.images)} images.',
            len(a.images),
            sorted(a.images.values()),
        )


def _shared_images(a: Holding, b: Holding) -> Iterator[Finding]:
    shared = a.images.keys() & b.images.keys()
    if shared:
        yield Finding(
            'shared-images',
            (a.name, b.name),
            cast(str, pair_level(a, b)),
            f'{len(shared)} of {len(b.images)} images of {b.name} are in '
            f'{a.name} too{_tasks(a, b, shared)}.',
            len(shared),
            sorted(a.images[path] for path in shared),
        )


def _tasks(a: Holding, b: Holding, shared: set[str]) -> str:
    """Return which tasks share images, where a dataset has several."""
    if len(a.task_splits) == len(b.task_splits) == 1:
        return ''
    kinds = [
        f'{p.name} and {q.name}'
        for p in a.task_splits
        for q in b.task_splits
        if not shared.isdisjoint(p.paths) and not shared.isdisjoint(q.paths)
    ]
    return f' ({", ".join(kinds)})' if kinds else ''


def _shared_patients(a: Holding, b: Holding) -> Iterator[Finding]:
    known = all(p.known_patients for p in (*a.task_splits, *b.task_splits))
    if a.dataset != b.dataset or not known:
        return
    shared = a.patients & b.patients
    if shared:
        yield Finding(
            'shared-patients',
            (a.name, b.name),
            'leak',
            f'{len(shared)} of {len(b.patients)} patients of {b.name} are in '
            f'{a.name} too.',
            len(shared),
            sorted(shared),
        )


def _shared_ids(found: list[Holding]) -> Iterator[Finding]:
    """Find identifiers that two datasets share, as COVIDx has RSNA's.

    Names that count up (``0001.png``) coincide by chance and say nothing.
    """
    if len({each.dataset for each in found}) < 2:
        return
    ids = {each: _unique_ids(each) for each in found}
    for a, b in combinations(found, 2):
        if a.dataset == b.dataset:
            continue
        # the same files are another finding
        files = a.images.keys() & b.images.keys()
        shared = [
            text
            for text in ids[a].keys() & ids[b].keys()
            if not files or files.isdisjoint((ids[a][text], ids[b][text]))
        ]
        if shared:
            yield Finding(
                'shared-ids',
                (a.name, b.name),
                cast(str, pair_level(a, b)),
                f'{len(shared)} identifiers of images or patients are in '
                f'{a.name} and in {b.name}.',
                len(shared),
                sorted(shared),
            )


def _unique_ids(holding: Holding) -> dict[Any, Any]:
    """Map identifiers, from names and patients, to an image's path."""
    ids = {}
    for split in holding.task_splits:
        for path, name, patient in zip(
            split.paths, split.names, split.patients
        ):
            stem = name.rpartition('/')[2].rpartition('.')[0] or name
            for text in (stem.lower(), patient.lower()):
                if len(text) >= 20 and UNIQUE_ID.fullmatch(text):
                    ids[text] = path
    return ids
