"""Numbers of the chest that boxes and masks give: sizes, ratios, places.

What masks cannot give is NaN with a reason, never a guess.
"""

from collections.abc import Callable, Iterator

import numpy as np

from fx_mm.analysis.image_report.heart_and_lungs import (
    find_organs,
    measure_chest,
)
from fx_mm.dicom_out.codes import ANATOMY, find_code
from fx_mm.image_io.dicom_geometry import UNKNOWN, Geometry
from fx_mm.visualization.measurements import Finding, Measurements
from fx_mm.visualization.measurements.chest_frame import (
    SAME,
    Box,
    ChestFrame,
    extent,
    make_frame,
    overlap,
    pieces,
)
from fx_mm.visualization.measurements.measurement import Measurement, scale_of
from fx_mm.visualization.results import (
    SCORE_THR,
    ClsResult,
    ImageResult,
    LocResult,
    SegResult,
)

LEAST_SHARE = 1e-4
"""Area of a piece of a finding's mask, as a share of the image."""


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
