"""What a release says of its images, in one form for all datasets."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from fx_mm.utils.errors import UserError


class Mask(Protocol):
    """A part of a mask as a release stores it; drawn when it is needed."""

    def draw(self, height: int, width: int) -> np.ndarray:
        """Give the part as bool of shape (height, width)."""


@dataclass
class Entry:
    """One image of a release with all that is known of it.

    Attributes:
        name (str): The image's name in the prepared files, relative to the
            config's ``img_dir``.
        source (Path): The image file of the release.
        patient (str): Whom it shows; the image's name where releases do not
            say. Parts of a split never share a patient.
        split (str, optional): ``train``, ``val`` or ``test`` where the
            release says so. None: it is drawn.
        labels (dict, optional): Class name to what the release writes: a
            number, -1 for uncertain, None for blank. None: without labels.
        boxes (list, optional): (class name, x1, y1, x2, y2) in pixels of the
            source. None: nobody looked for boxes.
        masks (dict, optional): Class name to the parts whose union is its
            mask. None: nobody drew masks.
        facts (dict): Further columns of the label table, such as sex, age
            in years, view.
    """

    name: str
    source: Path
    patient: str
    split: str | None = None
    labels: dict | None = None
    boxes: list | None = None
    masks: dict[str, list[Mask]] | None = None
    facts: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """How an official release is read and what it should hold.

    Attributes:
        name (str): Name of the dataset, that of its config.
        read (Callable): Takes the folder of the release (Path) and the
            options of the user, gives the entries.
        shares (dict): Split to its share of the patients that have no
            official one, such as ``dict(train=0.7, val=0.1, test=0.2)``.
        hold_out (float): Share of the patients of the official training part
            that become validation, where there is no official one.
        box_shares (dict): Split to its share of the patients with boxes, for
            releases whose boxes all lie in one official split: localization
            has only the images with boxes, in a split of its own. Defaults
            to {}: boxes follow ``split``.
        boxes_of (str, optional): How boxes come from masks: ``part`` (one a
            part), ``component`` (one a connected component) or ``class``
            (one a class). Defaults to None: the release has its own boxes.
        expected (dict): Official counts, such as ``dict(images=26684)``,
            ``dict(train=8964, Pneumothorax=3196)``: a split's or a
            class's number of images.
        options (dict): Names of the options of ``read`` with their defaults.
    """

    name: str
    read: Callable[..., Iterable[Entry]]
    shares: dict = field(default_factory=dict)
    hold_out: float = 0.0
    box_shares: dict = field(default_factory=dict)
    boxes_of: str | None = None
    expected: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)


RELEASES: dict[str, Release] = {}


def release(name: str, **facts) -> Callable:
    """Register a function that reads an official release.

    Args:
        name (str): Name of the dataset.
        **facts: Fields of :class:`Release`.

    Examples:
        >>> @release('rsna', shares=dict(train=0.8, val=0.1, test=0.1))
        ... def read_rsna(root: Path) -> Iterable[Entry]: ...
    """

    def register(read: Callable) -> Callable:
        RELEASES[name] = Release(name, read, **facts)
        return read

    return register


def find_release(name: str) -> Release:
    """Give a release by the name of its dataset.

    Raises:
        UserError: If there is none; lists those that are known.
    """
    from fx_mm.preparation import raw  # noqa: F401  registers all

    if name not in RELEASES:
        raise UserError(
            f'Unknown dataset "{name}"; known: {", ".join(sorted(RELEASES))}.'
        )
    return RELEASES[name]
