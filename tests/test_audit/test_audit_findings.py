"""Names of findings, and allowing them."""

import pytest

from fx_mm.audit.findings import Finding, allow, sort_findings


def shared():
    places = ('nih14/train', 'rsna/test')
    return Finding('near-duplicates', places, 'leak', 'They are the same.')


def test_nothing_to_allow():
    assert allow([], []) == []
    assert allow([], ['nih14:rsna']) == ['nih14:rsna']
    assert sort_findings([]) == []


def test_name_and_dict():
    finding = shared()
    assert finding.name == 'near-duplicates:nih14/train:rsna/test'
    assert finding.to_dict()['name'] == finding.name
    assert finding.fails
    many = Finding('x', ('a',), 'note', '.', examples=range(50))
    assert len(many.examples) == 20


@pytest.mark.parametrize(
    'entry',
    [
        'nih14:rsna',
        'rsna:nih14',
        'nih14/train:rsna',
        'near-duplicates',
        'near-duplicates:rsna',
        'near-duplicates:nih14/train:rsna/test',
    ],
)
def test_allowed(entry):
    finding = shared()
    assert allow([finding], [entry]) == []
    assert finding.allowed and not finding.fails


@pytest.mark.parametrize(
    'entry',
    [
        'rsna',
        'nih14/train',
        'nih1:rsna',
        'nih14:nih14',
        'nih14/test:rsna/test',
        'shared-images',
        'shared-images:nih14:rsna',
        'near-duplicates:tbx11k',
        '',
    ],
)
def test_not_allowed(entry):
    finding = shared()
    assert allow([finding], [entry]) == [entry]
    assert finding.fails


def test_a_dataset_with_itself():
    finding = Finding('same-split', ('a/val', 'a/test'), 'leak', '.')
    assert allow([finding], ['a:a']) == []
    assert finding.allowed


def test_worst_first():
    levels = ('note', 'leak', 'warning', 'error')
    found = [Finding('x', ('a',), level, '.') for level in levels]
    found[1].allowed = True
    order = [finding.level for finding in sort_findings(found)]
    assert order == ['error', 'warning', 'note', 'leak']
