"""Sentences on what changed since a prior image."""

import math
from collections.abc import Iterator
from typing import Any

from fx_mm.analysis.image_report.comparison import compare
from fx_mm.analysis.image_report.grounded_report import (
    ReportWriter,
    Sentence,
    evidence_of,
    fraction,
)
from fx_mm.analysis.image_report.heart_and_lungs import RATIO
from fx_mm.visualization.measurements import Measurements
from fx_mm.visualization.results.base import finite


def write_comparison(
    writer: ReportWriter, now: Measurements, before: Measurements
) -> Iterator[Sentence]:
    """Write what is new, gone, larger or smaller, and in which frame.

    Args:
        writer (ReportWriter): Has words and thresholds.
        now (Measurements): Of the image.
        before (Measurements): Of the prior image.

    Yields:
        Sentence: Of the section ``prior``.
    """
    why = now.geometry.refusal or before.geometry.refusal
    if why:
        yield Sentence('prior', writer.wording.say('not_compared', reason=why))
        return
    changes = compare(now, before)
    for change in changes:
        finding = change.now or change.before
        if finding is None:
            continue
        text = writer.wording.say(
            change.kind,
            name=writer.wording.name(finding.name),
            place=writer.place(finding.place),
            ratio=fraction(change.ratio),
        )
        evidence: dict[str, Any] = {
            'task': finding.task,
            'change': change.kind,
            'ratio': finite(change.ratio),
            'now': change.now and evidence_of(change.now),
            'before': change.before and evidence_of(change.before),
        }
        yield Sentence('prior', text, evidence)
    yield from _labels(writer, now, before)
    yield from _ratios(writer, now, before)
    say = writer.wording.say
    if changes:
        why = now.frame.refusal or before.frame.refusal
        by_images = say('note_by_images', reason=why)
        yield Sentence('prior', by_images if why else say('note_by_lungs'))
    views = now.geometry.view, before.geometry.view
    if all(views) and views[0] != views[1]:
        text = say('note_views', view=views[0], before=views[1])
        yield Sentence('prior', text)


def _labels(
    writer: ReportWriter, now: Measurements, before: Measurements
) -> Iterator[Sentence]:
    """Yield labels that crossed their thresholds."""
    for task, own in now.probabilities.items():
        for name, measured in own.items():
            threshold = writer.thresholds.of(task, name)
            earlier = before.probabilities[task][name].value
            values = (measured.value, earlier)
            if threshold is None or not all(map(math.isfinite, values)):
                continue
            is_on, was_on = (value >= threshold for value in values)
            if is_on == was_on:
                continue
            text = writer.wording.say(
                'label_new' if is_on else 'label_gone',
                name=writer.wording.name(name),
                probability=fraction(measured.value),
                threshold=fraction(threshold),
                before=fraction(earlier),
            )
            evidence = {
                'task': task,
                'class': name,
                'probability': finite(measured.value),
                'before': finite(earlier),
                'threshold': threshold,
                'threshold_from': writer.thresholds.path,
            }
            yield Sentence('prior', text, evidence)


def _ratios(
    writer: ReportWriter, now: Measurements, before: Measurements
) -> Iterator[Sentence]:
    """Yield the cardiothoracic ratios of both images."""
    old = {m.task: m for m in before.chest if m.quantity == RATIO}
    for new in now.chest:
        was = old.get(new.task)
        if new.quantity != RATIO or was is None or new.reason or was.reason:
            continue
        low, high = new.spread or (new.value, new.value)
        old_low, old_high = was.spread or (was.value, was.value)
        apart = low > old_high or high < old_low
        text = writer.wording.say(
            'ratio_changed' if apart else 'ratio_unchanged',
            value=fraction(new.value),
            before=fraction(was.value),
        )
        evidence = {
            'task': new.task,
            'form': 'mask',
            'quantity': RATIO,
            'value': finite(new.value),
            'before': finite(was.value),
        }
        yield Sentence('prior', text, evidence)
