"""How far measurements differ between readings of one image.

A reading is what one model (teacher, student) says of one view of the image.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from fx_mm.visualization.measurements import Finding, Measurements
from fx_mm.visualization.measurements.chest_frame import SAME, overlap
from fx_mm.visualization.measurements.measurement import Measurement


def add_spread(
    first: Measurements, others: Sequence[Measurements]
) -> Measurements:
    """Return the first reading with the spread over all of them.

    A finding is the same in two readings if task, class and form agree and
    the boxes overlap; each counts once.

    Args:
        first (Measurements): The reading that is reported.
        others (Sequence[Measurements]): Other readings of the image, in its
            pixels.

    Returns:
        Measurements: Each number with the least and the greatest value, and
        of how many readings; each finding with the number that show it.
    """
    chest = [{(m.task, m.quantity): m for m in o.chest} for o in others]
    pairs = [dict(match(first.findings, o.findings)) for o in others]
    findings = []
    for index, finding in enumerate(first.findings):
        seen = [
            other.findings[own[index]]
            for own, other in zip(pairs, others)
            if index in own
        ]
        sizes = tuple(
            _spread(m, [other.sizes[i] for other in seen])
            for i, m in enumerate(finding.sizes)
        )
        findings.append(
            replace(
                finding,
                sizes=sizes,
                seen=1 + len(seen),
                readings=1 + len(others),
            )
        )
    return replace(
        first,
        chest=tuple(
            _spread(m, [own[key] for own in chest if (key := _key(m)) in own])
            for m in first.chest
        ),
        findings=tuple(findings),
        probabilities={
            task: {
                name: _spread(
                    m, [other.probabilities[task][name] for other in others]
                )
                for name, m in own.items()
            }
            for task, own in first.probabilities.items()
        },
    )


def match(
    ones: Sequence[Finding],
    others: Sequence[Finding],
    least: float = SAME,
) -> Iterator[tuple[int, int]]:
    """Pair findings of the same task, class and form, the closest first.

    Args:
        ones (Sequence[Finding]): Of one reading.
        others (Sequence[Finding]): Of another, in the same pixels.
        least (float): IoU of a pair. Defaults to 0.3.

    Yields:
        tuple[int, int]: Places in ``ones`` and in ``others``.
    """
    pairs = [
        (overlap(one.box, other.box), i, j)
        for i, one in enumerate(ones)
        for j, other in enumerate(others)
        if (one.task, one.name, one.form)
        == (other.task, other.name, other.form)
    ]
    taken: tuple[set[int], set[int]] = (set(), set())
    for iou, i, j in sorted(pairs, reverse=True):
        if iou >= least and i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            yield i, j


def _key(measurement: Measurement) -> tuple[str, str]:
    return measurement.task, measurement.quantity


def _spread(
    measurement: Measurement, others: Sequence[Measurement]
) -> Measurement:
    values = [m.value for m in (measurement, *others)]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return replace(measurement, readings=0)
    return replace(
        measurement, spread=(min(known), max(known)), readings=len(known)
    )
