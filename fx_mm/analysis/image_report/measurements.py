"""Numbers of the chest that boxes and masks give: sizes, ratios, places.

What masks cannot give is NaN with a reason, never a guess.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fx_mm.analysis.image_report.chest_frame import (
    SAME,
    Box,
    ChestFrame,
    Place,
    extent,
    make_frame,
    overlap,
    pieces,
)
from fx_mm.analysis.image_report.heart_and_lungs import (
    find_organs,
    measure_chest,
)
from fx_mm.analysis.image_report.measurement import Measurement, scale_of
from fx_mm.dicom_out.codes import ANATOMY, find_code
from fx_mm.image_io.dicom_geometry import UNKNOWN, Geometry
from fx_mm.visualization.results import (
    SCORE_THR,
    ClsResult,
    ImageResult,
    LocResult,
    SegResult,
)

LEAST_SHARE = 1e-4
"""Area of a piece of a finding's mask, as a share of the image."""


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
    least: Callable[[str, str], float] = lambda task, name: SCORE_THR,
) -> Measurements:
    """Measure the predictions of an image.

    Of boxes of a task and class that overlap (IoU 0.3) the one with the
    highest score is measured: detectors show one thing several times. Sides
    are by the masks of the first task whose lungs can be used.

    Args:
        result (ImageResult): The predictions.
        geometry (Geometry): What the file says of scale and directions.
            Defaults to nothing.
        least (Callable): Task and class to the score below which boxes are
            left out. Defaults to 0.3 for all.

    Returns:
        Measurements: Without spreads.
    """
    organs = {
        task: find_organs(found)
        for task, found in result.predictions.items()
        if isinstance(found, SegResult)
    }
    frames = {
        task: make_frame(result.size, geometry, own.lungs, task)
        for task, own in organs.items()
        if own.lungs
    }
    usable = [frame for frame in frames.values() if frame.lungs]
    frame = next(
        iter([*usable, *frames.values()]), make_frame(result.size, geometry)
    )
    chest = [
        each
        for task, own in frames.items()
        for each in measure_chest(own, organs[task], geometry)
    ]
    dropped: dict[str, int] = {}
    findings: list[Finding] = []
    for task, found in result.predictions.items():
        if isinstance(found, LocResult):
            findings += _boxes(task, found, frame, geometry, least)
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


def _sizes(
    task: str, box: Box, geometry: Geometry, area: float | None = None
) -> tuple[Measurement, ...]:
    length, square, (down, across), per_pixel = scale_of(geometry)
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
    least: Callable[[str, str], float],
) -> Iterator[Finding]:
    """Yield the boxes, of those of a class that overlap the best one."""
    kept: list[tuple[str, Box]] = []
    order = np.argsort(-found.scores, kind='stable')
    for number in map(int, order):
        corners, score = found.boxes[number], float(found.scores[number])
        name = found.names[number]
        if not (score >= least(task, name) and np.isfinite(corners).all()):
            continue
        x1, y1, x2, y2 = (float(value) for value in corners)
        box = (x1, y1, x2, y2)
        if any(n == name and overlap(box, b) >= SAME for n, b in kept):
            continue
        kept.append((name, box))
        yield Finding(
            *(task, name, 'box', number, score, box),
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
