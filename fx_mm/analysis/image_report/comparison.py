"""What changed since a prior image of the patient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fx_mm.analysis.image_report.spread import match
from fx_mm.visualization.measurements import Finding, Measurements
from fx_mm.visualization.measurements.chest_frame import Box, ChestFrame

LEAST_OVERLAP = 0.1
"""IoU of a finding in both images; two images are taken differently."""
LEAST_RATIO = 1.2
"""Of diameters, from which on a finding is larger."""


@dataclass(frozen=True)
class Change:
    """What became of a finding.

    Attributes:
        kind (str): ``new``, ``gone``, ``larger``, ``smaller`` or
            ``unchanged``.
        now (Finding, optional): None for one that is gone.
        before (Finding, optional): None for one that is new.
        ratio (float): Diameter now by that before, NaN without both.
    """

    kind: str
    now: Finding | None
    before: Finding | None
    ratio: float = math.nan


def compare(now: Measurements, before: Measurements) -> list[Change]:
    """Compare the findings of two images, organs left out.

    They are matched in the frame of the lungs where both images have one, in
    that of the images otherwise. Diameters, the root of width times height,
    are compared in millimetres where both images have the same kind of
    spacing, as shares of the frame otherwise. One is larger by a ratio of
    1.2 whose spreads, too, do not overlap.

    Args:
        now (Measurements): Of the image.
        before (Measurements): Of the prior image.

    Returns:
        list[Change]: The findings of the image, then those that are gone.
    """
    frames = common_frames(now, before)
    ones = [f for f in now.findings if not f.organ]
    others = [f for f in before.findings if not f.organ]
    moved = [
        replace(f, box=_move(f.box, frames[1], frames[0])) for f in others
    ]
    pairs = dict(match(ones, moved, LEAST_OVERLAP))
    same = now.geometry.spacing_from == before.geometry.spacing_from and bool(
        now.geometry.spacing_from
    )
    scales = (1.0, 1.0) if same else tuple(map(_scale, frames))
    changes = []
    for index, finding in enumerate(ones):
        if index not in pairs:
            changes.append(Change('new', finding, None))
            continue
        partner = others[pairs[index]]
        kind, ratio = _grown(
            [d / scales[0] for d in _diameters(finding, same)],
            [d / scales[1] for d in _diameters(partner, same)],
        )
        changes.append(Change(kind, finding, partner, ratio))
    kept = set(pairs.values())
    gone = [f for j, f in enumerate(others) if j not in kept]
    return changes + [Change('gone', None, finding) for finding in gone]


def common_frames(now: Measurements, before: Measurements) -> tuple[Box, Box]:
    """Return the boxes that findings are compared in: lungs, or images."""
    by_lungs = now.frame.lungs and before.frame.lungs
    if by_lungs:
        return _lungs(now.frame), _lungs(before.frame)
    (h, w), (h2, w2) = now.frame.size, before.frame.size
    return (0.0, 0.0, w, h), (0.0, 0.0, w2, h2)


def _lungs(frame: ChestFrame) -> Box:
    boxes = [lung.box for lung in frame.lungs.values()]
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def _move(box: Box, old: Box, new: Box) -> Box:
    """Move a box from one frame to another."""
    moved = [
        new[axis]
        + (value - old[axis]) * _length(new, axis) / _length(old, axis)
        for axis, value in zip((0, 1, 0, 1), box)
    ]
    return (moved[0], moved[1], moved[2], moved[3])


def _length(box: Box, axis: int) -> float:
    return box[axis + 2] - box[axis]


def _scale(box: Box) -> float:
    return math.sqrt(_length(box, 0) * _length(box, 1))


def _diameters(finding: Finding, in_mm: bool) -> list[float]:
    """Return the diameter, its least and its greatest."""
    width, height = finding.sizes[:2]
    each = []
    for place in (None, 0, 1):
        pair = [
            (m.value if place is None or m.spread is None else m.spread[place])
            / (1 if in_mm else m.factor)
            for m in (width, height)
        ]
        each.append(math.sqrt(pair[0] * pair[1]))
    return each


def _grown(now: Sequence[float], before: Sequence[float]) -> tuple[str, float]:
    ratio = now[0] / before[0] if before[0] else math.inf
    if ratio >= LEAST_RATIO and now[1] > before[2]:
        return 'larger', ratio
    if ratio <= 1 / LEAST_RATIO and now[2] < before[1]:
        return 'smaller', ratio
    return 'unchanged', ratio
