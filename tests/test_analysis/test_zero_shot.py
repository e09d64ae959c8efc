"""Zero-shot: names of classes, overlaps, and AUCs of heads."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fx_mm.analysis.zero_shot import (
    MEAN,
    SOURCES,
    evaluate_heads,
    find_heads,
    normalise,
    shared_images,
)
from fx_mm.tasks import Task

TASKS = [
    Task('nih14', 'cls', ('Effusion', 'Mass', 'Nodule')),
    Task('vindr_cxr', 'cls', ('PE', 'Lung tumor')),
    Task('node21', 'loc', ('Nodule',)),
    Task('chexpert', 'cls', ('Pleural Effusion',)),
]


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('Pleural_Thickening', 'Pleural thickening'),
        ('TB', 'Tuberculosis'),
        ('Normal', 'No Finding'),
        ('Nodule/Mass', 'nodule mass'),
        ('COVID-19', 'covid19'),
    ],
)
def test_names_that_mean_the_same(one, other):
    assert normalise(one) == normalise(other)
    assert normalise('Nodule') != normalise('Nodule/Mass')


def test_heads_of_a_class():
    found = [str(head) for head in find_heads(TASKS, 'effusion')]
    assert found == [
        'nih14/cls/Effusion',
        'vindr_cxr/cls/PE',
        'chexpert/cls/Pleural Effusion',
    ]
    assert [str(h) for h in find_heads(TASKS, 'Nodule')] == [
        'nih14/cls/Nodule'
    ]
    also = find_heads(TASKS, 'Nodule', ['Mass', 'Lung Tumor'])
    assert [(h.task, h.output) for h in also] == [
        ('nih14/cls', 1),
        ('nih14/cls', 2),
        ('vindr_cxr/cls', 1),
    ]
    assert find_heads(TASKS, 'Hernia') == []


def test_images_that_are_shared():
    assert shared_images('nih14', 'nih14') == 'it is the target'
    assert shared_images('nih14', 'node21') == 'both have images of nih14'
    assert shared_images('rsna', 'siim_acr') == 'both have images of nih14'
    assert 'nih14' in shared_images('covidx', 'nih14')
    assert shared_images('chexpert', 'siim_acr') == ''
    for one in SOURCES:
        for other in SOURCES:
            ours, theirs = shared_images(one, other), shared_images(other, one)
            assert ours == theirs


def test_aucs_of_heads_and_their_mean():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 90).astype(float)
    labels[:5] = np.nan
    scores = {
        name: labels * strength + rng.normal(size=90)
        for name, strength in (('good', 2.0), ('bad', 0.2))
    }
    scores = {k: np.nan_to_num(v, nan=0.5) for k, v in scores.items()}
    found = evaluate_heads(labels, scores, resamples=200)
    known = ~np.isnan(labels)
    both = dict(scores, **{MEAN: (scores['good'] + scores['bad']) / 2})
    assert list(found) == ['good', 'bad', MEAN]
    for name, values in both.items():
        value = roc_auc_score(labels[known], values[known])
        assert found[name].value == pytest.approx(value)
        assert found[name].low < value < found[name].high
    assert MEAN not in evaluate_heads(labels, {'good': scores['good']})
    labels[:5] = 0.7  # a policy's soft label is no outcome
    assert evaluate_heads(labels, scores, resamples=200) == found
    nothing = evaluate_heads(np.zeros(90), scores, resamples=10)
    assert str(nothing['good']) == 'n/a'
