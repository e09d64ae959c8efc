"""Sentences that say what a model found, each with what it came from."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fx_mm.analysis.image_report.decision_thresholds import DecisionThresholds
from fx_mm.analysis.image_report.heart_and_lungs import WIDTH
from fx_mm.analysis.image_report.wording import Wording
from fx_mm.image_io.dicom_geometry import CALIBRATED, DETECTOR
from fx_mm.visualization.measurements import Finding, Measurements
from fx_mm.visualization.measurements.chest_frame import BOTH, UNKNOWN, Place
from fx_mm.visualization.measurements.measurement import MM, Measurement
from fx_mm.visualization.results.base import finite

SECTIONS = ('labels', 'boxes', 'masks', 'chest', 'prior', 'notes')
"""In the order of the text."""
ADULT_WIDTH = (180, 420)
"""Millimetres; a thorax outside of it is a child's, or the spacing is not
that of these pixels."""
SECTION_OF = dict(box='boxes', mask='masks')
ORDER = ('label_above', 'label_open', 'label_undefined', 'label_below')


@dataclass(frozen=True)
class Sentence:
    """A sentence of a report.

    Attributes:
        section (str): One of :data:`SECTIONS`.
        text (str): For people.
        evidence (dict): What it came from: ``task`` and, as they apply,
            ``class``, ``probability``, ``score``, ``threshold``,
            ``threshold_from``, ``box``, ``form``, ``number``.
    """

    section: str
    text: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)


class ReportWriter:
    """Writes sentences about measurements.

    Args:
        wording (Wording): The words.
        thresholds (DecisionThresholds): From validation images.
        score_thr (float): Boxes with a lower score were left out, of classes
            without a threshold.
    """

    def __init__(
        self,
        wording: Wording,
        thresholds: DecisionThresholds,
        score_thr: float,
    ) -> None:
        self.wording = wording
        self.thresholds = thresholds
        self.score_thr = score_thr

    def least(self, task: str, name: str) -> float:
        """Return the score from which on a box is shown."""
        chosen = self.thresholds.of(task, name)
        return self.score_thr if chosen is None else chosen

    def write(self, found: Measurements) -> list[Sentence]:
        """Write about one image.

        Args:
            found (Measurements): What was measured.

        Returns:
            list[Sentence]: In the order of the text.
        """
        return [
            *self._labels(found),
            *self._findings(found),
            *self._chest(found),
            *self._notes(found),
        ]

    def _labels(self, found: Measurements) -> Iterator[Sentence]:
        """Yield one sentence per class, those above their thresholds first."""
        ranked: list[tuple[int, Sentence]] = []
        for task, own in found.probabilities.items():
            for name, measured in own.items():
                threshold = self.thresholds.of(task, name)
                values = dict(
                    name=self.wording.name(name),
                    probability=fraction(measured.value),
                    spread=self.spread(measured, fraction),
                )
                key = 'label_open'
                if math.isnan(measured.value):
                    key = 'label_undefined'
                elif threshold is not None:
                    above = measured.value >= threshold
                    key = 'label_above' if above else 'label_below'
                    values['threshold'] = fraction(threshold)
                evidence = {
                    'task': task,
                    'class': name,
                    'probability': finite(measured.value),
                    'spread': measured.spread,
                    'readings': measured.readings,
                    'threshold': threshold,
                    'threshold_from': self.thresholds.path,
                }
                text = self.wording.say(key, **values)
                ranked.append(
                    (ORDER.index(key), Sentence('labels', text, evidence))
                )
        for _, sentence in sorted(ranked, key=lambda pair: pair[0]):
            yield sentence

    def _findings(self, found: Measurements) -> Iterator[Sentence]:
        shown = [f for f in found.findings if not f.organ]
        for finding in sorted(shown, key=lambda f: f.form):
            yield self._finding(finding)
        seen = {(f.task, f.name) for f in shown}
        for (task, form), names in found.looked_for.items():
            none = [name for name in names if (task, name) not in seen]
            if not none:
                continue
            evidence: dict[str, Any] = dict(task=task, form=form, classes=none)
            values = dict(names=', '.join(map(self.wording.name, none)))
            if form == 'box':
                least = {name: self.least(task, name) for name in none}
                evidence['thresholds'] = least
                evidence['threshold_from'] = self.thresholds.path
                low, high = min(least.values()), max(least.values())
                values['threshold'] = fraction(low)
                if fraction(low) != fraction(high):
                    values['threshold'] += f'-{fraction(high)}'
            text = self.wording.say(f'no_{form}', **values)
            yield Sentence(SECTION_OF[form], text, evidence)

    def _finding(self, finding: Finding) -> Sentence:
        sizes = {m.quantity: m for m in finding.sizes}
        values = dict(
            name=self.wording.name(finding.name),
            place=self.place(finding.place),
            width=number(sizes['width'].value),
            height=number(sizes['height'].value),
            unit=sizes['width'].unit,
            seen=str(finding.seen),
            readings=str(finding.readings),
        )
        if finding.form == 'box':
            values['score'] = fraction(finding.score or 0.0)
            least = self.least(finding.task, finding.name)
            chosen = self.thresholds.of(finding.task, finding.name)
            values['threshold'] = self.wording.say(
                f'box_threshold_{"open" if chosen is None else "chosen"}',
                threshold=fraction(least),
            )
            values['spread'] = self.spread(sizes['width'], number)
        else:
            values['area'] = number(sizes['area'].value)
            values['area_unit'] = sizes['area'].unit
            values['spread'] = self.spread(sizes['area'], number)
        text = self.wording.say(finding.form, **values)
        evidence = evidence_of(finding)
        if finding.form == 'box':
            evidence |= self._threshold(finding.task, finding.name)
        return Sentence(SECTION_OF[finding.form], text, evidence)

    def _threshold(self, task: str, name: str) -> dict[str, Any]:
        """Return what a box was held against, for its evidence."""
        chosen = self.thresholds.of(task, name) is not None
        return dict(
            threshold=self.least(task, name),
            threshold_from=self.thresholds.path if chosen else None,
        )

    def place(self, place: Place) -> str:
        """Return where something lies, as a part of a sentence."""
        if place.side == UNKNOWN:
            return self.wording.say('place_unknown')
        values = {}
        key = 'place_both' if place.side == BOTH else 'place'
        if place.side != BOTH:
            values['side'] = self.wording.say(f'side:{place.side}')
        if place.zone == UNKNOWN:
            key += '_side'
        else:
            values['zone'] = self.wording.say(f'zone:{place.zone}')
        return self.wording.say(key, **values)

    def spread(self, measured: Measurement, form: Any) -> str:
        """Return the range over readings, '' for a single reading."""
        if measured.spread is None or measured.readings < 2:
            return ''
        low, high = measured.spread
        return self.wording.say(
            'spread',
            low=form(low),
            high=form(high),
            readings=str(measured.readings),
        )

    def _chest(self, found: Measurements) -> Iterator[Sentence]:
        for measured in found.chest:
            form = number if measured.unit else fraction
            evidence: dict[str, Any] = {
                'task': measured.task,
                'form': 'mask',
                'classes': measured.classes,
                'quantity': measured.quantity,
                'value': finite(measured.value),
                'unit': measured.unit,
                'spread': measured.spread,
                'readings': measured.readings,
            }
            if measured.reason:
                text = self.wording.say(
                    'not_measured',
                    what=self.wording.say(f'what:{measured.quantity}'),
                    reason=measured.reason,
                )
            else:
                text = self.wording.say(
                    measured.quantity,
                    value=form(measured.value),
                    spread=self.spread(measured, form),
                    **({'unit': measured.unit} if measured.unit else {}),
                )
            yield Sentence('chest', text, evidence)

    def _notes(self, found: Measurements) -> Iterator[Sentence]:
        """Yield what a reader must know of sides and lengths."""
        frame, geometry = found.frame, found.geometry
        say = self.wording.say
        sided = any(f.place.side != UNKNOWN for f in found.findings)
        texts = []
        if frame.unusable:
            texts.append(say('note_unusable', reason=frame.unusable))
        elif sided and not frame.lungs:
            texts.append(say('note_halves', reason=frame.refusal))
        if sided and not frame.said:
            texts.append(say('note_assumed'))
        if geometry.view == 'AP' and found.chest:
            texts.append(say('note_view_ap'))
        if found.findings or found.chest:
            scale = {CALIBRATED: 'calibrated', DETECTOR: 'detector'}
            name = scale.get(geometry.spacing_from, 'pixels')
            texts.append(say(f'note_{name}'))
        texts += [
            say('note_width', value=number(m.value))
            for m in found.chest
            if m.quantity == WIDTH
            and m.unit == MM
            and not m.reason
            and not ADULT_WIDTH[0] <= m.value <= ADULT_WIDTH[1]
        ]
        texts += geometry.notes
        for text in texts:
            yield Sentence('notes', text)


def evidence_of(finding: Finding) -> dict[str, Any]:
    """Return what a finding came from."""
    evidence = {
        'task': finding.task,
        'class': finding.name,
        'form': finding.form,
        'number': finding.number,
        'box': [round(value, 2) for value in finding.box],
        'side': finding.place.side,
        'zone': finding.place.zone,
        'place_by': finding.place.by,
        'seen': finding.seen,
        'readings': finding.readings,
    }
    if finding.score is not None:
        evidence['score'] = finite(finding.score)
    return evidence


def fraction(value: float) -> str:
    """Write a probability or a ratio."""
    return f'{round(value, 2) + 0.0:.2f}'  # no -0.00


def number(value: float) -> str:
    """Write a length or an area."""
    return f'{value:.0f}' if abs(value) >= 10 else f'{value:.1f}'
