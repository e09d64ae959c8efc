"""Numbers of the heart and the lungs, from the masks of one task."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fx_mm.image_io.dicom_geometry import Geometry
from fx_mm.visualization.measurements.chest_frame import (
    LEFT,
    RIGHT,
    ChestFrame,
    Region,
    check_mask,
)
from fx_mm.visualization.measurements.measurement import Measurement, scale_of
from fx_mm.visualization.results import SegResult

RATIO = 'cardiothoracic_ratio'
WIDTH = 'thoracic_width'


@dataclass(frozen=True)
class Organs:
    """The masks of a task that chest measurements are taken from.

    Attributes:
        lungs (dict): As of :func:`make_frame`; empty without them.
        heart (np.ndarray, optional): bool (H, W).
        names (dict): ``left``, ``right``, ``lung`` and ``heart`` to the name
            of the class.
    """

    lungs: dict[str, np.ndarray] = field(default_factory=dict)
    heart: np.ndarray | None = None
    names: dict[str, str] = field(default_factory=dict)


def find_organs(found: SegResult) -> Organs:
    """Return the lungs and the heart among the masks of a task."""
    keys = {
        'left lung': LEFT,
        'right lung': RIGHT,
        'lung': 'lung',
        'lungs': 'lung',
        'heart': 'heart',
    }
    masks, names = {}, {}
    for name, mask in zip(found.classes, found.masks):
        key = keys.get(name.lower().replace('_', ' '))
        if key is not None:
            masks[key], names[key] = mask, name
    lungs = {side: masks[side] for side in (LEFT, RIGHT) if side in masks}
    if len(lungs) < 2:
        lungs = {key: masks[key] for key in ('lung',) if key in masks}
    return Organs(lungs, masks.get('heart'), names)


def measure_chest(
    frame: ChestFrame, organs: Organs, geometry: Geometry
) -> Iterator[Measurement]:
    """Measure what the lungs of one task, and its heart, give.

    The cardiothoracic ratio is the greatest width of the heart by that of
    the lungs together, in rows of the image.

    Args:
        frame (ChestFrame): Of these lungs.
        organs (Organs): The masks.
        geometry (Geometry): What the file says.

    Yields:
        Measurement: NaN with a reason where a mask fails a check.
    """
    length, square, (_, across), per_pixel = scale_of(geometry)
    lung_names = tuple(organs.names[key] for key in organs.lungs)

    def give(
        quantity: str,
        value: float,
        unit: str,
        why: str,
        classes: tuple[str, ...],
    ) -> Measurement:
        factor = {length: across, square: per_pixel}.get(unit, 1.0)
        value = math.nan if why else value * factor
        return Measurement(
            *(quantity, value, unit, frame.task, why),
            factor=factor,
            classes=classes,
        )

    thorax, narrow = _thorax(frame)
    if organs.heart is not None:
        heart = check_mask(organs.heart, 'the heart')
        why = geometry.refusal or heart.refusal or _outside(heart, frame)
        wide = heart.box[2] - heart.box[0]
        names = (organs.names['heart'],)
        yield give(RATIO, wide / thorax, '', narrow or why, names + lung_names)
        yield give('heart_width', wide, length, why, names)
    yield give(WIDTH, thorax, length, narrow, lung_names)
    areas = {side: _area(frame, side) for side in (LEFT, RIGHT)}
    for side, (area, why) in areas.items():
        name = organs.names.get(side)
        own = (name,) if name in lung_names and name else lung_names
        yield give(f'{side}_lung_area', area, square, why, own)
    (left, why), (right, why_right) = areas.values()
    asymmetry = (left - right) / (left + right)
    yield give('lung_asymmetry', asymmetry, '', why or why_right, lung_names)


def _thorax(frame: ChestFrame) -> tuple[float, str]:
    """Return the width of both lungs together, and why there is none."""
    if not frame.lungs:
        return math.nan, frame.refusal
    for side, lung in frame.lungs.items():
        if lung.box[0] <= 0 or lung.box[2] >= frame.size[1]:
            return math.nan, _cut(side)
    boxes = [lung.box for lung in frame.lungs.values()]
    return max(b[2] for b in boxes) - min(b[0] for b in boxes), ''


def _area(frame: ChestFrame, side: str) -> tuple[float, str]:
    """Return the area of a lung in pixels, and why there is none."""
    if not frame.lungs:
        return math.nan, frame.refusal
    lung, (height, width) = frame.lungs[side], frame.size
    x1, y1, x2, y2 = lung.box
    if x1 <= 0 or y1 <= 0 or x2 >= width or y2 >= height:
        return math.nan, _cut(side)
    return float(np.count_nonzero(lung.mask)), ''


def _cut(side: str) -> str:
    return f'the {side} lung reaches the edge of the image'


def _outside(heart: Region, frame: ChestFrame) -> str:
    """Return why a heart is not between the lungs, '' if it is."""
    if not frame.lungs:
        # lungs that failed a check say nothing good of the heart
        return frame.refusal if frame.task else ''
    boxes = [lung.box for lung in frame.lungs.values()]
    low, high = min(b[0] for b in boxes), max(b[2] for b in boxes)
    if heart.box[0] < low or heart.box[2] > high:
        return 'the mask of the heart reaches beyond the lungs'
    return ''
