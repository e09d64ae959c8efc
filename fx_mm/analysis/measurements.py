"""Numbers of the chest that boxes and masks give: sizes, ratios, places.

What masks cannot give is NaN with a reason, never a guess.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fx_mm.analysis.chest_frame import (
    LEFT,
    RIGHT,
    Box,
    ChestFrame,
    Place,
    Region,
    check_mask,
    extent,
    make_frame,
    pieces,
)
from fx_mm.dicom_out.codes import ANATOMY, find_code
from fx_mm.image_io.dicom_geometry import UNKNOWN, Geometry
from fx_mm.visualization.results import (
    SCORE_THR,
    ClsResult,
    ImageResult,
    LocResult,
    SegResult,
)

PIXELS, MM = 'px', 'mm'
LEAST_SHARE = 1e-4
"""Area of a piece of a finding's mask, as a share of the image."""
RATIO = 'cardiothoracic_ratio'


@dataclass(frozen=True)
class Measurement:
    """A number, and where it came from.

    Attributes:
        quantity (str): ``cardiothoracic_ratio``, ``heart_width``,
            ``thoracic_width``, ``left_lung_area``, ``right_lung_area``,
            ``lung_asymmetry`` (area of the left less the right by their
            sum); of a finding ``width``, ``height``, ``area``.
        value (float): NaN where it cannot be measured.
        unit (str): ``px``, ``px2``, ``mm``, ``mm2`` or '' (a ratio).
        task (str): Whose boxes or masks it was taken from.
        reason (str): Why it is NaN.
        spread (tuple[float], optional): Least and greatest value of all
            readings that have one, see :mod:`fx_mm.analysis.spread`.
        readings (int): How many have one.
        factor (float): What pixels were multiplied with for the unit.
    """

    quantity: str
    value: float
    unit: str
    task: str
    reason: str = ''
    spread: tuple[float, float] | None = None
    readings: int = 1
    factor: float = 1.0


@dataclass(frozen=True)
class Finding:
    """A box, or a piece of a mask.

    Attributes:
        task (str): Task name.
        name (str): Class name.
        form (str): ``box`` or ``mask``.
        number (int): Which of the boxes, in the order of the result, or of
            the mask's pieces, the largest first.
        score (float, optional): Of a box.
        box (tuple[float]): x1, y1, x2, y2 in pixels; of a mask its extent.
        place (Place): Side and zone.
        sizes (tuple[Measurement]): ``width``, ``height``, of masks
            ``area``.
        organ (bool): Whether it is anatomy, not a finding.
        seen (int): How many readings show it.
        readings (int): How many readings there are.
    """

    task: str
    name: str
    form: str
    number: int
    score: float | None
    box: Box
    place: Place
    sizes: tuple[Measurement, ...]
    organ: bool = False
    seen: int = 1
    readings: int = 1

    def size(self, quantity: str) -> float:
        """Return one of its sizes, NaN for one that it does not have."""
        found = (m.value for m in self.sizes if m.quantity == quantity)
        return next(found, math.nan)


@dataclass(frozen=True)
class Measurements:
    """All that was measured of an image.

    Attributes:
        geometry (Geometry): What the file says.
        frame (ChestFrame): The lungs.
        chest (tuple[Measurement]): Of heart and lungs, by task.
        findings (tuple[Finding]): Boxes and masks, organs too.
        probabilities (dict): Task to class to probability.
        dropped (dict): ``task class`` to pieces of masks too small to count.
        looked_for (dict): Task and form, ``box`` or ``mask``, to the classes
            that are findings.
    """

    geometry: Geometry
    frame: ChestFrame
    chest: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    probabilities: Mapping[str, Mapping[str, Measurement]] = field(
        default_factory=dict
    )
    dropped: Mapping[str, int] = field(default_factory=dict)
    looked_for: Mapping[tuple[str, str], tuple[str, ...]] = field(
        default_factory=dict
    )


def measure(
    result: ImageResult,
    geometry: Geometry = UNKNOWN,
    score_thr: float = SCORE_THR,
) -> Measurements:
    """Measure the predictions of an image.

    Sides are by the masks of the first task that draws both lungs.

    Args:
        result (ImageResult): The predictions.
        geometry (Geometry): What the file says of scale and directions.
            Defaults to nothing.
        score_thr (float): Boxes with a lower score are left out. Defaults to
            0.3.

    Returns:
        Measurements: Without spreads.
    """
    organs = {
        task: _organs(found)
        for task, found in result.predictions.items()
        if isinstance(found, SegResult)
    }
    frames = {
        task: make_frame(result.size, geometry, lungs, task)
        for task, (lungs, _) in organs.items()
        if lungs
    }
    usable = [frame for frame in frames.values() if frame.lungs]
    frame = next(
        iter([*usable, *frames.values()]), make_frame(result.size, geometry)
    )
    chest = [
        each
        for task, own in frames.items()
        for each in _measure_chest(own, organs[task][1], geometry)
    ]
    dropped: dict[str, int] = {}
    findings: list[Finding] = []
    for task, found in result.predictions.items():
        if isinstance(found, LocResult):
            findings += _boxes(task, found, frame, geometry, score_thr)
        elif isinstance(found, SegResult):
            findings += _masks(task, found, frame, geometry, dropped)
    probabilities = {
        task: {
            name: Measurement('probability', value, '', task)
            for name, value in found.probabilities.items()
        }
        for task, found in result.predictions.items()
        if isinstance(found, ClsResult)
    }
    return Measurements(
        geometry,
        frame,
        tuple(chest),
        tuple(findings),
        probabilities,
        dropped,
        {
            (task, 'box' if isinstance(found, LocResult) else 'mask'): tuple(
                name for name in found.classes if not _is_organ(name)
            )
            for task, found in result.predictions.items()
            if isinstance(found, LocResult | SegResult)
        },
    )


def _is_organ(name: str) -> bool:
    return find_code(name).category == ANATOMY


def _key(name: str) -> str:
    return name.lower().replace('_', ' ')


def _organs(
    found: SegResult,
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return the masks of the lungs, as of make_frame, and of the heart."""
    masks = {_key(n): m for n, m in zip(found.classes, found.masks)}
    heart = masks.get('heart')
    sided = {side: masks.get(f'{side} lung') for side in (LEFT, RIGHT)}
    both = {side: m for side, m in sided.items() if m is not None}
    if len(both) == 2:
        return both, heart
    for name in ('lung', 'lungs'):
        if name in masks:
            return {'lung': masks[name]}, heart
    return {}, heart


def _measure_chest(
    frame: ChestFrame, heart: np.ndarray | None, geometry: Geometry
) -> Iterator[Measurement]:
    """Yield what lungs, and heart, of one task give."""
    width_unit, area_unit, (_, across), area = _scale(geometry)

    def give(
        quantity: str, value: float, factor: float, unit: str, why: str
    ) -> Measurement:
        value = math.nan if why else value * factor
        return Measurement(
            quantity, value, unit, frame.task, why, factor=factor
        )

    why = frame.refusal
    areas = {
        side: float(frame.lungs[side].mask.sum()) if not why else math.nan
        for side in (LEFT, RIGHT)
    }
    narrow = why or _cut(frame, (0, 2))
    cut = narrow or _cut(frame, (1, 3))
    thorax = math.nan
    if not why:
        boxes = [lung.box for lung in frame.lungs.values()]
        thorax = max(b[2] for b in boxes) - min(b[0] for b in boxes)
    if heart is not None:
        region = check_mask(heart, 'the heart')
        no_heart = (
            geometry.refusal or region.refusal or _outside(region, frame)
        )
        wide = region.box[2] - region.box[0]
        yield give(RATIO, wide / thorax, 1, '', narrow or no_heart)
        yield give('heart_width', wide, across, width_unit, no_heart)
    yield give('thoracic_width', thorax, across, width_unit, narrow)
    for side, own in areas.items():
        yield give(f'{side}_lung_area', own, area, area_unit, cut)
    left, right = areas.values()
    asymmetry = (left - right) / (left + right)
    yield give('lung_asymmetry', asymmetry, 1, '', cut)


def _scale(
    geometry: Geometry,
) -> tuple[str, str, tuple[float, float], float]:
    """Return units of lengths and areas, and the factors to them."""
    if geometry.spacing is None:
        return PIXELS, f'{PIXELS}2', (1.0, 1.0), 1.0
    down, across = geometry.spacing
    return MM, f'{MM}2', (down, across), down * across


def _cut(frame: ChestFrame, edges: tuple[int, int]) -> str:
    """Return which lung the image cuts off, '' if none.

    Args:
        frame (ChestFrame): With or without lungs.
        edges (tuple[int]): Places of a box that are asked for: 0 and 2 for
            the sides, 1 and 3 for top and bottom.
    """
    first, last = edges
    end = frame.size[1 - first]
    for side, lung in frame.lungs.items():
        if lung.box[first] <= 0 or lung.box[last] >= end:
            return f'the {side} lung reaches the edge of the image'
    return ''


def _outside(heart: Region, frame: ChestFrame) -> str:
    """Return why a heart is not between the lungs, '' if it is."""
    if not frame.lungs:
        return ''
    boxes = [lung.box for lung in frame.lungs.values()]
    low, high = min(b[0] for b in boxes), max(b[2] for b in boxes)
    if heart.box[0] < low or heart.box[2] > high:
        return 'the mask of the heart reaches beyond the lungs'
    return ''


def _sizes(
    task: str, box: Box, geometry: Geometry, area: float | None = None
) -> tuple[Measurement, ...]:
    length, square, (down, across), per_pixel = _scale(geometry)
    x1, y1, x2, y2 = box
    numbers = [
        ('width', x2 - x1, across, length),
        ('height', y2 - y1, down, length),
    ]
    if area is not None:
        numbers.append(('area', area, per_pixel, square))
    return tuple(
        Measurement(name, value * factor, unit, task, factor=factor)
        for name, value, factor, unit in numbers
    )


def _boxes(
    task: str,
    found: LocResult,
    frame: ChestFrame,
    geometry: Geometry,
    score_thr: float,
) -> Iterator[Finding]:
    for number, (corners, score, name) in enumerate(
        zip(found.boxes, found.scores, found.names)
    ):
        if score >= score_thr and np.isfinite(corners).all():
            x1, y1, x2, y2 = (float(value) for value in corners)
            box = (x1, y1, x2, y2)
            yield Finding(
                *(task, name, 'box', number, float(score), box),
                frame.locate(box),
                _sizes(task, box, geometry),
                _is_organ(name),
            )


def _masks(
    task: str,
    found: SegResult,
    frame: ChestFrame,
    geometry: Geometry,
    dropped: dict[str, int],
) -> Iterator[Finding]:
    """Yield organs whole and the pieces of findings."""
    for name, mask in zip(found.classes, found.masks):
        organ = _is_organ(name)
        least = 1 if organ else max(1, round(LEAST_SHARE * mask.size))
        parts, small = pieces(mask, least)
        if small:
            dropped[f'{task} {name}'] = small
        if organ and parts:
            parts = [mask]
        for number, part in enumerate(parts):
            box = extent(part)
            yield Finding(
                *(task, name, 'mask', number, None, box),
                frame.locate(box),
                _sizes(task, box, geometry, float(part.sum())),
                organ,
            )
