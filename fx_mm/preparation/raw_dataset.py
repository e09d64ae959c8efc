"""What an official dataset says about its images, in one form for all."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from fx_mm.utils.errors import UserError

BoxPer = Literal['piece', 'component', 'class']
Box = tuple[str, float, float, float, float]
"""Class name, x1, y1, x2, y2 in pixels of the source image."""


class RawError(UserError):
    """An official dataset that is missing, incomplete or damaged."""


class MaskPiece(Protocol):
    """A piece of a mask as the raw dataset stores it, drawn when needed."""

    def draw(self, height: int, width: int) -> np.ndarray:
        """Return the piece, of shape (height, width).

        Returns:
            np.ndarray: bool; of numpy's masked arrays, pixels that are
            masked are those that nobody annotated.
        """


@dataclass
class RawImage:
    """One image of a raw dataset with all that is known about it.

    Attributes:
        name (str): The image's name in the prepared files, relative to the
            config's ``img_dir``.
        source (Path): The image file as downloaded.
        patient (str): Patient ID; the image's name where the dataset has
            none. Splits that are drawn never share a patient.
        split (str, optional): ``train``, ``val`` or ``test`` where there is
            an official split. None: it is drawn.
        labels (dict, optional): Class name to the official value: a number,
            -1 for uncertain, None for blank. None: nobody labelled the
            image.
        boxes (list, optional): (class name, x1, y1, x2, y2) in pixels of the
            source. None: nobody looked for boxes.
        masks (Mapping, optional): Class name to the pieces whose union is its
            mask. None: nobody drew masks.
        metadata (dict): Further columns of the label table, such as sex, age
            in years, view.
    """

    name: str
    source: Path
    patient: str
    split: str | None = None
    labels: dict[str, float | None] | None = None
    boxes: list[Box] | None = None
    masks: Mapping[str, Sequence[MaskPiece]] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


Read = Callable[..., Iterable[RawImage]]


@dataclass(frozen=True)
class RawDataset:
    """How an official dataset is read and what it should hold.

    Attributes:
        name (str): Name of the dataset, that of its config.
        read (Callable): Takes the :class:`~.raw_folder.RawFolder` and the
            user's options, returns the images.
        classes (tuple[str]): All class names that it may have, in their
            official order. A config lists some or all of them.
        holds (str): What its folder holds, for messages.
        split_ratios (dict): Split to its ratio of the patients that are in
            no official split, such as ``dict(train=0.7, val=0.1, test=0.2)``.
        val_ratio (float): Ratio of the patients of the official training
            split that become validation, where there is no official one.
        box_split_ratios (dict): Split to its ratio of the patients with
            boxes, for datasets whose boxes all lie in one official split:
            localization has only the images with boxes, in splits of its
            own. Defaults to {}: boxes are split like all else.
        box_per (str, optional): How boxes are made from masks: one per
            ``piece``, per ``component`` (connected region) or per ``class``.
            Defaults to None: the dataset has its own boxes.
        official_counts (dict): What the whole dataset has, such as
            ``dict(images=26684)``, ``dict(train=8964, Pneumothorax=3196)``:
            number of images in all, in a split or with a class.
        options (dict): Names of the options of ``read`` with their defaults.
    """

    name: str
    read: Read
    classes: tuple[str, ...] = ()
    holds: str = ''
    split_ratios: dict[str, float] = field(default_factory=dict)
    val_ratio: float = 0.0
    box_split_ratios: dict[str, float] = field(default_factory=dict)
    box_per: BoxPer | None = None
    official_counts: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


RAW_DATASETS: dict[str, RawDataset] = {}
"""Readers of official datasets by the dataset's name."""


def raw_dataset(name: str, **fields: Any) -> Callable[[Read], Read]:
    """Register a function that reads an official dataset.

    Args:
        name (str): Name of the dataset.
        **fields: Fields of :class:`RawDataset`.

    Examples:
        >>> @raw_dataset('jsrt', classes=CLASSES, val_ratio=0.1)
        ... def read_jsrt(folder: RawFolder) -> Iterator[RawImage]: ...
    """

    def register(read: Read) -> Read:
        RAW_DATASETS[name] = RawDataset(name, read, **fields)
        return read

    return register
