"""Labels, boxes and masks of an image, predicted or corrected."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from fx_mm.utils.errors import UserError

FORMS = ('labels', 'boxes', 'masks')


class Box(NamedTuple):
    """A box.

    Attributes:
        corners (tuple[float]): x1, y1, x2, y2 in pixels of the image.
        label (str): Name of its class.
        score (float): Of a prediction; 1 of a person's.
    """

    corners: tuple[float, float, float, float]
    label: str
    score: float = 1.0


class Head(NamedTuple):
    """What is annotated for one task.

    Attributes:
        form (str): One of :data:`FORMS`.
        classes (tuple[str]): All class names.
        exclusive (bool): Whether an image has exactly one of them.
    """

    form: str
    classes: tuple[str, ...]
    exclusive: bool = False


Heads = dict[str, Head]
"""By the task's name."""
Mask = Callable[[], np.ndarray]
"""Gives bool (H, W); read when it is needed, since masks are large."""


@dataclass
class AnnotatedImage:
    """An image with the annotation of its tasks.

    Attributes:
        name (str): Path below the folder of the images, with slashes.
        height (int): In pixels.
        width (int): In pixels.
        labels (dict): Task to (class to score in 0..1).
        boxes (dict): Task to its boxes.
        masks (dict): Task to (class to mask).

    Raises:
        UserError: If the name leads out of a folder, where masks would be
            written, or the size is none.
    """

    name: str
    height: int
    width: int
    labels: dict[str, dict[str, float]] = field(default_factory=dict)
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    masks: dict[str, dict[str, Mask]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (
            not isinstance(self.name, str)
            or not PurePosixPath(self.name).name
            or PurePosixPath(self.name).is_absolute()
            or {'..', '\0'} & {*PurePosixPath(self.name).parts, *self.name}
        ):
            raise UserError(
                f'the image name {self.name!r} is no path below a folder; '
                'name images below the folder that holds them.'
            )
        for size in (self.height, self.width):
            if not isinstance(size, int) or size < 1:
                raise UserError(
                    f'the image {self.name} has the size {self.width!r} x '
                    f'{self.height!r}; write its pixels.'
                )


def file_stem(task: str) -> str:
    """Return a task's name for files and controls, ``phantom_b_loc``."""
    return re.sub(r'\W', '_', task)
