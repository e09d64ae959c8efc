"""Which images of earlier tasks are kept to rehearse them, by name."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fx_mm.datasets.few_shot import draw_key
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

SELECTIONS = ('random', 'balanced', 'herding')
FORMAT = 'fx_mm rehearsal buffer'


def select_images(
    names: Sequence[str],
    n: int,
    seed: int = 0,
    patients: Sequence[str] | None = None,
    classes: np.ndarray | None = None,
    features: np.ndarray | None = None,
) -> list[int]:
    """Choose whole patients by a fixed order, as many as fit.

    The order depends on the seed, the names and what is given of them, not on
    ``n``: a smaller choice is part of each larger one. The first patient is
    kept in any case; from the first that does not fit on, none is.

    Without ``classes`` and ``features`` the order is random. With classes the
    next patient is one who has the class that the fewest chosen images have:
    the first in the random order, or, with features, the one who brings the
    mean feature of the chosen images of that class nearest to that of all of
    them (herding; Rebuffi et al. 2017, iCaRL).

    Args:
        names (Sequence[str]): Names of the images, distinct.
        n (int): How many images at most.
        seed (int): Of the random order. Defaults to 0.
        patients (Sequence[str], optional): Patient of each image. Defaults
            to None: each image is of another one.
        classes (np.ndarray, optional): (N, C), above 0.5 where an image has
            a class; images without any are a class of their own. Defaults to
            None, a single class.
        features (np.ndarray, optional): float (N, D). Defaults to None.

    Returns:
        list[int]: Numbers of images, ascending.
    """
    owners = list(names if patients is None else patients)
    units = sorted(set(owners), key=lambda owner: draw_key(seed, owner))
    number = {owner: i for i, owner in enumerate(units)}
    unit_of = np.array([number[owner] for owner in owners])
    sizes = np.bincount(unit_of, minlength=len(units))
    if classes is None and features is None:
        order = range(len(units))
    else:
        has: np.ndarray = np.ones((len(names), 1), bool)
        if classes is not None and classes.shape[1]:
            has = classes > 0.5
            has = np.column_stack([has, ~has.any(1)])
        order = _order_by_class(unit_of, has, features)
    chosen: set[int] = set()
    total = 0
    for unit in order:
        total += sizes[unit]
        if chosen and total > n:
            break
        chosen.add(unit)
    return [i for i, unit in enumerate(unit_of) if unit in chosen]


class _Class:
    """The images of a class, summed up by patient."""

    def __init__(
        self, unit_of: np.ndarray, rows: np.ndarray, features: Any
    ) -> None:
        self.units, places = np.unique(unit_of[rows], return_inverse=True)
        self.counts = np.bincount(places)
        self.left = np.ones(len(self.units), bool)
        self.chosen = 0
        self.sums = None
        if features is not None and len(self.units):
            own = features[rows].astype(np.float64)
            self.sums = np.zeros((len(self.units), own.shape[1]))
            np.add.at(self.sums, places, own)
            self.mean = own.mean(0)
            self.sum = np.zeros(own.shape[1])

    def best(self) -> int:
        """Return the number of the next patient."""
        left = np.flatnonzero(self.left)
        if self.sums is None:
            return int(self.units[left[0]])
        counts = self.chosen + self.counts[left]
        means = (self.sum + self.sums[left]) / counts[:, None]
        distance = np.square(means - self.mean).sum(1)
        return int(self.units[left[distance.argmin()]])

    def take(self, unit: int) -> None:
        """Count a patient who was chosen, for whichever class."""
        place = np.searchsorted(self.units, unit)
        if place < len(self.units) and self.units[place] == unit:
            self.left[place] = False
            self.chosen += self.counts[place]
            if self.sums is not None:
                self.sum = self.sum + self.sums[place]


def _order_by_class(
    unit_of: np.ndarray, has: np.ndarray, features: np.ndarray | None
) -> Any:
    """Yield the numbers of all patients, the rarest class first."""
    classes = [
        _Class(unit_of, np.flatnonzero(column), features) for column in has.T
    ]
    while True:
        open_classes = [each for each in classes if each.left.any()]
        if not open_classes:
            return
        unit = min(open_classes, key=lambda each: each.chosen).best()
        for each in classes:
            each.take(unit)
        yield unit


def save_buffer(
    file: str | Path, images: Mapping[str, Sequence[str]], **how: Any
) -> Path:
    """Write a buffer: names alone, no image.

    Args:
        file (str | Path): The file, such as ``buffer.json``.
        images (Mapping): Task to names of its images.
        **how (Any): How they were chosen, for people.
    """
    content = dict(format=FORMAT, **how, images=images)
    return write_whole(file, json.dumps(content, indent=1) + '\n')


def load_buffer(file: str | Path) -> dict[str, list[str]]:
    """Read a buffer.

    Returns:
        dict[str, list[str]]: Task to names of its images.

    Raises:
        UserError: If the file is missing or another one.
    """
    try:
        content = json.loads(Path(file).read_text(encoding='utf-8'))
        if content['format'] != FORMAT:
            raise ValueError('another format')
        return {task: list(names) for task, names in content['images'].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'{file} is no rehearsal buffer ({error}); a training with '
            '"continual" writes one at the end of each stage.'
        ) from error


def read_buffer(file: str | Path, task: str) -> list[str]:
    """Return the names that a buffer has of a task.

    Raises:
        UserError: If it has none.
    """
    images = load_buffer(file)
    if not images.get(task):
        raise UserError(
            f'The rehearsal buffer {file} has no images of {task}; it has '
            f'{", ".join(images) or "none at all"}.'
        )
    return images[task]
