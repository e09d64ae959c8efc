"""What rules with negation read out of a text."""

import pytest

from fx_mm.utils.errors import UserError
from fx_mm.utils.findings_in_text import FindingRules

EFFUSION = {'Pleural effusion'}
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
        # a verb is of what stands before it
        ('A nodule is present and effusion is not seen.', {'Nodule'}),
        ('A nodule is seen while effusion has resolved.', {'Nodule'}),
        ('Effusion or nodule is not seen.', set()),
        ('A small effusion is seen and the nodule has resolved.', EFFUSION),
        # what is not excluded may be there
        ('Effusion has not resolved.', EFFUSION),
        ('Effusion is not excluded.', EFFUSION),
        ('Cannot exclude an effusion.', EFFUSION),
        ('Effusion cannot be excluded.', EFFUSION),
        ('This excludes an effusion.', set()),
        # denied otherwise
        ('There is no increased effusion.', set()),
        ('No increase of the effusion.', EFFUSION),
        ('Effusion: none', set()),
        ('Effusion: none. Nodule: 5 mm.', {'Nodule'}),
        ('Effusion: no nodule.', EFFUSION),
        ('Pleural effusion absent.', set()),
        ('Resolved effusion.', set()),
        ('Nodule has resolved and an effusion is seen.', EFFUSION),
        ('Effusion unlikely.', set()),
        ('A nodule is no longer seen.', set()),
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


def test_names_that_are_no_plain_words():
    names = ('No finding', 'Nodule/Mass', 'COPD (old)')
    assert stated('No findings.', names) == {'No finding'}
    assert stated('There is no nodule.', names) == set()
    assert stated('A mass.', names) == {'Nodule/Mass'}
    assert stated('Known COPD (old).', names) == {'COPD (old)'}


def test_spans_are_of_all_mentions():
    text = 'No nodule, and a nodule.'
    spans = FindingRules(('Nodule',)).spans(text)
    assert [text[start:end] for start, end in spans] == ['nodule', 'nodule']


def test_what_is_refused():
    with pytest.raises(UserError, match='"Mass", which is not a class'):
        FindingRules(NAMES, dict(Mass=['mass']))
    with pytest.raises(UserError, match=r'"\(" is no regular expression'):
        FindingRules(NAMES, dict(Nodule=['(']))
    for terms in ('effusion', [], ['']):
        with pytest.raises(UserError, match='must be a list of expressions'):
            FindingRules(NAMES, dict(Nodule=terms))
