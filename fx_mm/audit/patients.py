"""Patients and images that splits share, by their names alone."""

import re
from collections.abc import Iterable, Iterator
from itertools import combinations

from fx_mm.audit.findings import Finding
from fx_mm.audit.parts import Part
from fx_mm.tasks import SPLITS

UNIQUE_ID = re.compile(r'[0-9a-fA-F.-]{20,}')
"""UUIDs, hashes and DICOM UIDs: names that do not coincide by chance."""


class Holding:
    """What a dataset holds in one split, over all its tasks.

    Attributes:
        dataset (str): Name of the dataset.
        split (str): ``train``, ``val`` or ``test``.
        parts (list[Part]): Its tasks' parts.
        images (dict): Path to name of the image.
        patients (set): Of its images.
    """

    def __init__(self, dataset: str, split: str) -> None:
        self.dataset = dataset
        self.split = split
        self.parts: list[Part] = []
        self.images: dict = {}
        self.patients: set = set()

    @property
    def name(self) -> str:
        """str: ``dataset/split``."""
        return f'{self.dataset}/{self.split}'

    def add(self, part: Part) -> None:
        """Add the images of a task."""
        self.parts.append(part)
        self.images.update(zip(part.paths, part.names))
        self.patients.update(part.patients)


def holdings(parts: Iterable[Part]) -> list[Holding]:
    """Join the parts of each dataset and split, since tasks share images.

    Returns:
        list[Holding]: By name of the dataset and order of the splits, so that
        findings have the same names whatever the order of the tasks.
    """
    found: dict = {}
    for part in parts:
        key = (part.task.dataset, part.split)
        found.setdefault(key, Holding(*key)).add(part)
    order = sorted(found, key=lambda key: (key[0], SPLITS.index(key[1])))
    return [found[key] for key in order]


def pair_level(a: Holding, b: Holding) -> str | None:
    """Say how bad it is if two holdings share an image or a patient.

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


def find_shared(parts: Iterable[Part]) -> list[Finding]:
    """Find what holdings share: patients, images, identifiers, all of it."""
    findings = []
    found = holdings(parts)
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
            pair_level(a, b),
            f'{len(shared)} of {len(b.images)} images of {b.name} are in '
            f'{a.name} too{_tasks(a, b, shared)}.',
            len(shared),
            sorted(a.images[path] for path in shared),
        )


def _tasks(a: Holding, b: Holding, shared: set) -> str:
    """Say which tasks share images, where a dataset has several."""
    if len(a.parts) == len(b.parts) == 1:
        return ''
    kinds = [
        f'{p.name} and {q.name}'
        for p in a.parts
        for q in b.parts
        if not shared.isdisjoint(p.paths) and not shared.isdisjoint(q.paths)
    ]
    return f' ({", ".join(kinds)})' if kinds else ''


def _shared_patients(a: Holding, b: Holding) -> Iterator[Finding]:
    known = all(p.known_patients for p in (*a.parts, *b.parts))
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
                pair_level(a, b),
                f'{len(shared)} identifiers of images or patients are in '
                f'{a.name} and in {b.name}.',
                len(shared),
                sorted(shared),
            )


def _unique_ids(holding: Holding) -> dict:
    """Map identifiers, from names and patients, to an image's path."""
    ids = {}
    for part in holding.parts:
        for path, name, patient in zip(part.paths, part.names, part.patients):
            stem = name.rpartition('/')[2].rpartition('.')[0] or name
            for text in (stem, patient):
                if len(text) >= 20 and UNIQUE_ID.fullmatch(text):
                    ids[text] = path
    return ids
