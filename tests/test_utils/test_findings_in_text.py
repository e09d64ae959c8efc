"""What rules with negation read out of a text."""

import pytest

from fx_mm.utils.errors import UserError
from fx_mm.utils.findings_in_text import FindingRules

NAMES = ('Pneumothorax', 'Pleural effusion', 'Nodule', 'Cardiomegaly')


def stated(text, names=NAMES, **terms):
    found = FindingRules(names, terms or None)(text)
    return {name for name, is_in in zip(names, found) if is_in}


@pytest.mark.parametrize(
    'text, wanted',
    [
        ('', set()),
        ('The lungs are clear.', set()),
        ('Small left pneumothorax.', {'Pneumothorax'}),
        ('PNEUMOTHORACES', {'Pneumothorax'}),
        ('No pneumothorax.', set()),
        ('No pneumothorax. Small effusion.', {'Pleural effusion'}),
        ('There is no nodule, effusion or pneumothorax.', set()),
        ('No pneumothorax, small left effusion.', {'Pleural effusion'}),
        ('No effusion, but a nodule.', {'Nodule'}),
        ('A nodule without effusion.', {'Nodule'}),
        ('Effusion has resolved; a nodule remains.', {'Nodule'}),
        ('A pneumothorax is not seen.', set()),
        ('No change in the effusion.', {'Pleural effusion'}),
        ('The effusion is not increased.', {'Pleural effusion'}),
        ('Effusion, nodule.', {'Pleural effusion', 'Nodule'}),
        ('No effusion. Effusion on the right.', {'Pleural effusion'}),
        ('Pericardial effusion.', set()),
        ('Neither effusion nor nodule.', set()),
        ('The heart is enlarged.', {'Cardiomegaly'}),
        ('The heart is mildly enlarged.', {'Cardiomegaly'}),
        ('The heart is not enlarged.', set()),
        ('Nodules in both lungs.', {'Nodule'}),
        ('Nodular pattern.', set()),
        ('Size 1.5 cm nodule.', {'Nodule'}),
        ('Lines\nno effusion\nnodule', {'Nodule'}),
    ],
)
def test_what_is_stated(text, wanted):
    assert stated(text) == wanted


def test_terms_are_regular_expressions_of_whole_words():
    assert stated('SOB with a pigtail', ('Drain',)) == set()
    assert stated('with a Pigtail', ('Drain',), Drain=['pig ?tail']) == {
        'Drain'
    }
    assert stated('pigtails', ('Drain',), Drain=['pig ?tail']) == set()


def test_spans_are_of_all_mentions():
    text = 'No nodule, and a nodule.'
    spans = FindingRules(('Nodule',)).spans(text)
    assert [text[start:end] for start, end in spans] == ['nodule', 'nodule']


def test_what_is_refused():
    with pytest.raises(UserError, match='"Mass", which is not a class'):
        FindingRules(NAMES, dict(Mass=['mass']))
    with pytest.raises(UserError, match=r'"\(" is no regular expression'):
        FindingRules(NAMES, dict(Nodule=['(']))
