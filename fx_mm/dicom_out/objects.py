"""All DICOM objects of one image's predictions."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pydicom
from highdicom.seg import Segmentation

from fx_mm.dicom_out import sr as report
from fx_mm.dicom_out.codes import ClassCode
from fx_mm.dicom_out.errors import SourceError
from fx_mm.dicom_out.extra import quiet
from fx_mm.dicom_out.gsps import FoundBox, make_gsps
from fx_mm.dicom_out.measured import SrMeasurements
from fx_mm.dicom_out.model import Model
from fx_mm.dicom_out.seg import make_seg
from fx_mm.dicom_out.source import read_source
from fx_mm.utils.log import log_once
from fx_mm.visualization.measurements import Measurements
from fx_mm.visualization.results import (
    ClsResult,
    ImageResult,
    LocResult,
    RegResult,
    SegResult,
)

FIRST_SERIES = 9001
"""Number of the first series of results; those of devices are small."""

FindCode = Callable[[str], ClassCode]


def make_objects(
    result: ImageResult,
    model: Model,
    find_code: FindCode,
    measured: Measurements | None = None,
) -> dict[str, pydicom.Dataset]:
    """Make the DICOM objects of an image that is a DICOM file.

    Args:
        result (ImageResult): The predictions.
        model (Model): Who made them.
        find_code (Callable): Class name to its coded terms.
        measured (Measurements, optional): What the report says beside the
            predictions. Defaults to None.

    Returns:
        dict[str, pydicom.Dataset]: ``x_seg_segmentation`` for the masks of
        the task ``x/seg``, ``report``, and, of a grey image and a task that
        finds boxes, ``boxes`` to the object.

    Raises:
        SourceError: If the file cannot be referred to, or its pixel grid is
            not that of the predictions.
    """
    source = read_source(str(result.path))
    grid = (source.get('Rows'), source.get('Columns'))
    if grid != tuple(result.size):
        raise SourceError(
            f'{result.path}: the DICOM has {grid[0]}x{grid[1]} pixels and '
            f'its predictions {result.size[0]}x{result.size[1]}, so there '
            'are no DICOM results.'
        )
    with quiet():
        return _make(result, source, model, find_code, measured)


def _make(
    result: ImageResult,
    source: pydicom.Dataset,
    model: Model,
    find_code: FindCode,
    measured: Measurements | None,
) -> dict[str, pydicom.Dataset]:
    objects: dict[str, pydicom.Dataset] = {}
    segmentations: dict[str, Segmentation] = {}
    boxes: list[FoundBox] = []
    for task, prediction in result.predictions.items():
        if isinstance(prediction, SegResult):
            segmentations[task] = make_seg(
                source,
                task,
                prediction.classes,
                [find_code(name) for name in prediction.classes],
                prediction.masks,
                model,
                FIRST_SERIES + len(objects),
            )
            key = task.replace('/', '_') + '_segmentation'
            objects[key] = segmentations[task]
        elif isinstance(prediction, LocResult):
            boxes += _boxes(task, prediction, model.score_thr)
    in_report = None
    if measured is not None:
        in_report = SrMeasurements(measured, source, find_code)
    statements = [
        *_numbers(result, find_code),
        *_findings(result, boxes, source, find_code, in_report),
        *_areas(result, segmentations, source, find_code, in_report),
    ]
    if in_report is not None:
        segments = _segments(result, segmentations)
        statements += [
            *in_report.chest(segments),
            *in_report.pieces(segments),
        ]
    series = FIRST_SERIES + len(objects)
    if statements:
        objects['report'] = report.make_sr(
            source, statements, model, list(segmentations.values()), series
        )
    if _of(result, LocResult) and not _is_grey(source):
        log_once(
            'An image in colours gets no presentation state; its boxes are '
            'in the report.',
            logging.WARNING,
        )
    elif _of(result, LocResult):
        objects['boxes'] = make_gsps(
            source, boxes, result.reading or {}, model, series + 1
        )
    return objects


def _is_grey(source: pydicom.Dataset) -> bool:
    photometric = source.get('PhotometricInterpretation', 'MONOCHROME2')
    return bool(photometric.startswith('MONOCHROME'))


def _of(result: ImageResult, kind: type) -> dict[str, Any]:
    """Return the predictions of one kind by task."""
    found = result.predictions.items()
    return {task: each for task, each in found if isinstance(each, kind)}


def _boxes(task: str, found: LocResult, score_thr: float) -> list[FoundBox]:
    """Return the boxes that are shown: good scores, finite corners."""
    return [
        FoundBox(task, int(label), found.classes[label], float(score), box)
        for box, score, label in zip(found.boxes, found.scores, found.labels)
        if score >= score_thr and np.isfinite(box).all()
    ]


def _numbers(
    result: ImageResult, find_code: FindCode
) -> Iterator[report.Statement]:
    """Yield probabilities and numbers; what is not finite is left out."""
    for task, each in _of(result, ClsResult).items():
        for name, value in each.probabilities.items():
            if math.isfinite(value):
                yield report.Statement(
                    task,
                    name,
                    find_code(name),
                    report.CERTAINTY,
                    100 * value,
                    report.PERCENT,
                )
    for task, each in _of(result, RegResult).items():
        for name, value in each.numbers.items():
            if math.isfinite(value):
                code = find_code(name)
                yield report.Statement(
                    task, name, code, code.term, value, report.NO_UNITS
                )


def _findings(
    result: ImageResult,
    boxes: list[FoundBox],
    source: pydicom.Dataset,
    find_code: FindCode,
    measured: SrMeasurements | None,
) -> Iterator[report.Statement]:
    """Yield the number of boxes of each class, 0 too, and each box."""
    for task, each in _of(result, LocResult).items():
        for name in each.classes:
            own = [b for b in boxes if (b.task, b.name) == (task, name)]
            code = find_code(name)
            yield report.Statement(
                task, name, code, report.COUNT, len(own), report.NO_UNITS
            )
            for box in own:
                yield report.Statement(
                    task,
                    name,
                    code,
                    report.CERTAINTY,
                    100 * box.score,
                    report.PERCENT,
                    report.region_of(box, source),
                    *(measured.of_box(box) if measured else ()),
                )


def _areas(
    result: ImageResult,
    segmentations: Mapping[str, Segmentation],
    source: pydicom.Dataset,
    find_code: FindCode,
    measured: SrMeasurements | None,
) -> Iterator[report.Statement]:
    """Yield the area of each mask, in mm2 where the pixels are calibrated.

    Those that were measured piece by piece are left to ``measured``.
    """
    factor, unit = 1.0, report.PIXELS
    if 'PixelSpacing' in source:
        factor, unit = math.prod(source.PixelSpacing), report.MM2
    segments = _segments(result, segmentations)
    for task, found in _of(result, SegResult).items():
        for name, mask in zip(found.classes, found.masks):
            if measured is not None and measured.measures(task, name):
                continue
            area = int(np.count_nonzero(mask))
            region = segments.get((task, name))
            yield report.Statement(
                task,
                name,
                find_code(name),
                report.AREA,
                factor * area,
                unit,
                region,
            )


def _segments(
    result: ImageResult, segmentations: Mapping[str, Segmentation]
) -> dict[tuple[str, str], Any]:
    """Return references to the segments that have pixels."""
    return {
        (task, name): report.segment_of(segmentations[task], number)
        for task, found in _of(result, SegResult).items()
        for number, name in enumerate(found.classes, 1)
        if found.masks[number - 1].any()
    }
