"""All that was measured of an image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fx_mm.image_io.dicom_geometry import Geometry
from fx_mm.visualization.measurements.chest_frame import (
    Box,
    ChestFrame,
    Place,
)
from fx_mm.visualization.measurements.measurement import Measurement


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
