"""Reports of phantoms state exactly what is drawn."""

import numpy as np
import pytest

from fx_mm.phantom import FINDINGS, render_phantom
from fx_mm.phantom.reports import STYLES, Place, ask_questions, write_report
from fx_mm.utils.findings_in_text import FindingRules

RULES = FindingRules(FINDINGS)


def places(*names):
    return [Place(name, 'left', 'lower', 'small') for name in names]


@pytest.mark.parametrize('style', STYLES.values())
def test_each_wording_states_what_is_there(style):
    rng = np.random.default_rng(0)
    for _ in range(300):
        there = rng.random(len(FINDINGS)) < 0.3
        names = [name for name, is_in in zip(FINDINGS, there) if is_in]
        report = write_report(places(*names), style, rng)
        assert RULES(report).tolist() == there.tolist(), report


def test_without_findings_there_is_a_report():
    report = write_report([], 'sentences', np.random.default_rng(0))
    assert report and not RULES(report).any()


def test_questions_have_one_answer():
    rng = np.random.default_rng(0)
    asked = list(ask_questions(places('Nodule', 'Cardiomegaly'), rng))
    answers = {q.answer for q in asked}
    assert answers == {'yes', 'no', 'left lower zone'}
    assert len({q.question for q in asked}) == len(asked)
    (only,) = ask_questions([], rng)
    assert only.answer == 'no'
    two = list(ask_questions(places('Nodule', 'Nodule'), rng))
    assert not any(q.question.startswith('Where') for q in two)


def test_of_drawn_images():
    """Labels, sides and zones are those of the masks."""
    for index in range(8):
        phantom = render_phantom(0, 'c', 'val', index, size=64)
        stated = RULES(phantom.report)
        assert stated.tolist() == phantom.labels.astype(bool).tolist()
        for name, (x1, _, x2, _) in phantom.boxes:
            if name == 'Nodule' and len(phantom.boxes) == 1:
                # the patient's left is on the right of the image
                side = 'left' if x1 + x2 > 64 else 'right'
                assert f'{side} ' in phantom.report
    again = render_phantom(0, 'c', 'val', 0, size=64)
    first = render_phantom(0, 'c', 'val', 0, size=64)
    assert again.report == first.report
    assert again.questions == first.questions
    assert render_phantom(0, 'a', 'val', 0, size=64).report == ''
