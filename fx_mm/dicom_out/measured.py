"""Measurements of the chest, sizes and places as statements of a report."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pydicom
from pydicom.sr.coding import Code

from fx_mm.dicom_out import sr as report
from fx_mm.dicom_out.codes import SIDES, ClassCode
from fx_mm.dicom_out.gsps import FoundBox
from fx_mm.visualization.measurements import Finding, Measurement, Measurements

LUNG = Code('39607008', 'SCT', 'Lung')
ZONES = {
    'upper': Code('281392002', 'SCT', 'Upper zone of lung'),
    'middle': Code('281393007', 'SCT', 'Middle zone of lung'),
    'lower': Code('281394001', 'SCT', 'Lower zone of lung'),
}
CHEST = {
    'cardiothoracic_ratio': ('Cardiothoracic ratio', None),
    'heart_width': ('Heart', report.WIDTH),
    'thoracic_width': ('Thorax', report.WIDTH),
    'left_lung_area': ('Left lung', report.AREA),
    'right_lung_area': ('Right lung', report.AREA),
    'lung_asymmetry': ('Lung area asymmetry', None),
}
"""Quantity to the finding and what is measured of it; None for a number
that has the name of the finding."""
SIZES = dict(width=report.WIDTH, height=report.HEIGHT, area=report.AREA)

Segments = Mapping[tuple[str, str], Any]
Size = tuple[Code, float, Code]


class SrMeasurements:
    """Turns measurements into statements.

    What was not measured is left out. Lengths are in millimetres where the
    file has a ``PixelSpacing``, in pixels otherwise.

    Args:
        measured (Measurements): Of the image.
        source (pydicom.Dataset): See :func:`.source.read_source`.
        find_code (Callable): Class name to its coded terms.
    """

    def __init__(
        self,
        measured: Measurements,
        source: pydicom.Dataset,
        find_code: Callable[[str], ClassCode],
    ) -> None:
        self._measured = measured
        self._find_code = find_code
        self._in_mm = 'PixelSpacing' in source
        self._boxes = {
            (f.task, f.name, f.box): f
            for f in measured.findings
            if f.form == 'box'
        }

    def measures(self, task: str, name: str) -> bool:
        """Whether the areas of a class are among the measurements.

        Those of a mask that failed a check are, too: they are left out.
        """
        return any(
            each.task == task and each.classes == (name,)
            for each in self._measured.chest
            if each.quantity.endswith('_lung_area')
        ) or any(
            (each.task, each.name, each.form) == (task, name, 'mask')
            for each in self._measured.findings
            if not each.organ
        )

    def chest(self, segments: Segments) -> Iterator[report.Statement]:
        """Yield the numbers of heart and lungs."""
        for each in self._measured.chest:
            if each.reason:
                continue
            name, quantity = CHEST[each.quantity]
            code = self._find_code(name)
            _, value, unit = self._size(each)
            region = None
            if len(each.classes) == 1:
                region = segments.get((each.task, each.classes[0]))
            yield report.Statement(
                *(each.task, name, code, quantity or code.term, value, unit),
                region,
            )

    def of_box(
        self, box: FoundBox
    ) -> tuple[tuple[Size, ...], tuple[Code, Code | None] | None]:
        """Return the sizes and the site of a box."""
        x1, y1, x2, y2 = (float(value) for value in box.corners)
        finding = self._boxes.get((box.task, box.name, (x1, y1, x2, y2)))
        if finding is None:
            return (), None
        return tuple(map(self._size, finding.sizes)), _site(finding)

    def pieces(self, segments: Segments) -> Iterator[report.Statement]:
        """Yield the pieces of masks that are findings."""
        for each in self._measured.findings:
            if each.form == 'mask' and not each.organ:
                *sizes, area = map(self._size, each.sizes)
                yield report.Statement(
                    *(each.task, each.name, self._find_code(each.name)),
                    *area,
                    segments.get((each.task, each.name)),
                    tuple(sizes),
                    _site(each),
                )

    def _size(self, each: Measurement) -> Size:
        quantity = SIZES.get(each.quantity, report.AREA)
        if not each.unit:
            return quantity, each.value, report.NO_UNITS
        if not self._in_mm:
            return quantity, each.value / each.factor, report.PIXELS
        square = each.unit.endswith('2')
        unit = report.MM2 if square else report.MM
        return quantity, each.value, unit


def _site(finding: Finding) -> tuple[Code, Code | None] | None:
    """Return where a finding lies, None where that is not known."""
    side = SIDES.get(finding.place.side)
    zone = ZONES.get(finding.place.zone)
    if side is None and zone is None:
        return None
    return zone or LUNG, side
