"""AUC against scikit-learn and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fx_mm.evaluation import ClsMetric
from fx_mm.registry import METRICS
from fx_mm.utils.errors import UserError

NAN = float('nan')


def evaluate(labels, scores, classes='ab', ids=None, **kwargs):
    metric = ClsMetric(**kwargs)
    metric.dataset_meta = dict(task='x/cls', classes=tuple(classes))
    ids = ids or [str(i) for i in range(len(labels))]
    metric.process(
        None,
        [
            dict(
                img_id=img_id,
                gt_score=torch.tensor(label, dtype=torch.float32),
                pred_score=torch.tensor(score, dtype=torch.float32),
            )
            for img_id, label, score in zip(ids, labels, scores, strict=True)
        ],
    )
    return metric.evaluate(len(labels))


def test_no_images_and_no_positives_are_nan():
    keys = {'AUC', 'n_classes', 'AUC/a', 'AUC/b'}
    for labels, scores in (([], []), ([[0, 0], [0, 0]], [[0.1, 0.2]] * 2)):
        result = evaluate(labels, scores)
        assert set(result) == keys
        assert result['n_classes'] == 0
        assert all(math.isnan(result[k]) for k in keys - {'n_classes'})


def test_by_hand_with_unknown_labels_and_a_one_sided_class():
    # a: positives .9, .4; negatives .1, .6 -> 3 of 4 pairs in order; the
    # unknown one would spoil that. b has positives only.
    result = evaluate(
        [[1, 1], [1, 1], [0, NAN], [0, 1], [NAN, 1]],
        [[0.9, 0.1], [0.4, 0.2], [0.1, 0.3], [0.6, 0.4], [0.0, 0.5]],
    )
    assert result['AUC/a'] == 0.75
    assert math.isnan(result['AUC/b'])
    assert result['AUC'] == 0.75
    assert result['n_classes'] == 1


def test_ties_count_half():
    result = evaluate([[1], [0]], [[0.5], [0.5]], classes='a')
    assert result['AUC'] == 0.5


def test_equals_scikit_learn_class_by_class():
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 5)) < 0.2).astype(float)
    labels[rng.random(labels.shape) < 0.3] = np.nan
    scores = rng.random(labels.shape).round(2).astype(np.float32)
    result = evaluate(labels.tolist(), scores.tolist(), classes='abcde')
    expected = []
    for i, name in enumerate('abcde'):
        known = ~np.isnan(labels[:, i])
        expected.append(roc_auc_score(labels[known, i], scores[known, i]))
        assert result[f'AUC/{name}'] == pytest.approx(expected[-1], abs=1e-9)
    assert result['AUC'] == pytest.approx(np.mean(expected), abs=1e-9)
    assert result['n_classes'] == 5


def test_subset_of_classes_makes_the_mean():
    labels = [[1, 1], [0, 0]]
    scores = [[0.9, 0.1], [0.1, 0.9]]
    result = evaluate(labels, scores)
    assert result['AUC'] == 0.5
    metric = ClsMetric(classes=['a'])
    metric.dataset_meta = dict(task='x/cls', classes=('a', 'b'))
    metric.results = [
        (str(i), np.array(labels[i]), np.array(scores[i])) for i in range(2)
    ]
    result = metric.evaluate(2)
    assert (result['AUC'], result['n_classes']) == (1.0, 1)
    assert result['AUC/b'] == 0.0


def test_unknown_class_in_subset_is_refused_before_any_image():
    metric = ClsMetric(classes=['nodule'])
    with pytest.raises(UserError, match="'nodule'.*known are a, b"):
        metric.dataset_meta = dict(task='x/cls', classes=('a', 'b'))


def test_label_that_is_no_outcome_names_the_image():
    with pytest.raises(UserError, match='image im1.*0.5.*mass'):
        evaluate([[0.5], [1]], [[0.1], [0.2]], ['mass'], ids=['im1', 'im2'])


def test_scores_that_are_not_finite_give_nan():
    result = evaluate([[1], [0]], [[NAN], [0.2]], classes='a')
    assert math.isnan(result['AUC'])


def test_repeated_images_count_once():
    once = evaluate([[1], [0], [0]], [[0.5], [0.9], [0.1]], 'a')
    twice = evaluate(
        [[1], [0], [0], [0]],
        [[0.5], [0.9], [0.1], [0.1]],
        'a',
        ids=['p', 'q', 'r', 'r'],
    )
    assert once == twice == {'AUC': 0.5, 'n_classes': 1, 'AUC/a': 0.5}


def test_size_does_not_cut_the_results():
    metric = METRICS.build(dict(type='fx_mm.ClsMetric'))
    metric.dataset_meta = dict(task='x/cls', classes=('a',))
    metric.results = [
        (str(i), np.array([i % 2]), np.array([i / 9])) for i in range(9)
    ]
    assert metric.evaluate(2)['AUC'] == pytest.approx(0.5)
    assert metric.results == []
