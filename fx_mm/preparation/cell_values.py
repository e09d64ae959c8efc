"""Values as official files write them: labels, boxes, sex, age."""

import math
import re
from collections.abc import Sequence
from typing import Any

from fx_mm.preparation.raw_dataset import Box
from fx_mm.utils.errors import UserError

VALUES = {'0': 0, '1': 1, '0.0': 0, '1.0': 1, '-1': -1, '-1.0': -1, '': None}
SEXES = {'f': 'F', 'female': 'F', 'femal': 'F', 'm': 'M', 'male': 'M'}


def parse_label(text: str, where: str) -> int | None:
    """Read a label: 0, 1, -1 for uncertain, None for blank.

    Raises:
        UserError: If it is something else.
    """
    if text not in VALUES:
        raise UserError(
            f'{where}: label "{text}" is none of 0, 1, -1 and blank; is it '
            'the official file?'
        )
    return VALUES[text]


def parse_labels(
    classes: Sequence[str], cells: Sequence[str], where: str
) -> dict[str, float | None]:
    """Read the labels of a row; see :func:`parse_label`.

    Args:
        classes (Sequence[str]): Class of each cell.
        cells (Sequence[str]): At least one per class.
        where (str): The row, for messages.
    """
    try:
        # a message for every cell would take longer than all the rest
        return dict(zip(classes, map(VALUES.__getitem__, cells)))
    except KeyError:
        return {
            name: parse_label(cell, f'{where}, column "{name}"')
            for name, cell in zip(classes, cells)
        }


def parse_box(name: str, numbers: Any, where: str, size: bool = False) -> Box:
    """Read a box.

    Args:
        name (str): Its class.
        numbers (Sequence): x1, y1, x2, y2 as text or numbers.
        where (str): The place in the file, for messages.
        size (bool): Whether the last two are width and height. Defaults to
            False.

    Returns:
        tuple: (class name, x1, y1, x2, y2) in pixels.

    Raises:
        UserError: If one of them is no number, or the box has no area.
    """
    try:
        x1, y1, x2, y2 = (float(n) for n in numbers)
    except (TypeError, ValueError):
        x1 = y1 = x2 = y2 = math.nan
    if size:
        x2, y2 = x1 + x2, y1 + y2
    if not (x1 < x2 < math.inf and y1 < y2 < math.inf):
        raise UserError(
            f'{where}: the box of {name} ({_join(numbers)}) is no rectangle; '
            'correct it or delete it.'
        )
    return name, x1, y1, x2, y2


def _join(numbers: Any) -> str:
    if isinstance(numbers, (list, tuple)):
        return ', '.join(map(str, numbers))
    return str(numbers)


def parse_sex(text: str) -> str | None:
    """Return F or M; None for anything else."""
    return SEXES.get(text.strip().lower())


def parse_age(text: str) -> float | None:
    """Return an age in years.

    Args:
        text (str): Such as ``45``, ``058Y``, ``45yrs``, ``16month``.

    Returns:
        float, optional: The age; None if there is no number.
    """
    if text.isdecimal():
        return int(text)
    match = re.search(r'(\d+(?:\.\d+)?)\s*([a-z]?)', text.lower())
    if match is None:
        return None
    per_year = {'m': 12, 'w': 52.18, 'd': 365.25}.get(match[2], 1)
    age = float(match[1]) / per_year
    return int(age) if age == int(age) else round(age, 2)
