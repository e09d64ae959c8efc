"""AUC against scikit-learn and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    matthews_corrcoef,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from fx_mm.evaluation import ClsMetric
from fx_mm.evaluation.metrics.cls_metric import ClsRecord
from fx_mm.evaluation.statistics.calibration import reliability
from fx_mm.evaluation.statistics.operating_points import choose_thresholds
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
        assert result[f'AUC/{name}'] == pytest.approx(expected[-1], abs=1e-12)
    assert result['AUC'] == pytest.approx(np.mean(expected), abs=1e-12)
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


def details(
    labels,
    scores,
    classes='ab',
    kind='multi-label',
    thresholds=None,
    **kwargs,
):
    metric = ClsMetric(**kwargs)
    metric.dataset_meta = dict(
        task='x/cls', classes=tuple(classes), label_type=kind
    )
    records = [
        ClsRecord(str(i), np.array(row, float), np.array(answer, float))
        for i, (row, answer) in enumerate(zip(labels, scores, strict=True))
    ]
    found = metric.compute_unique(records)
    return metric, records, {**found, **metric.details(records, thresholds)}


MEANS = {'AP', 'Brier', 'ECE', 'F1', 'MCC', 'Sensitivity', 'Specificity'}
MEANS |= {'PPV', 'NPV', 'Sens_at_spec_90', 'Spec_at_sens_90'}
OWN = MEANS | {'LR+', 'LR-', 'threshold', 'threshold_F1', 'threshold_MCC'}
DETAILS = MEANS | {f'{key}/{c}' for key in OWN for c in 'ab'}


@pytest.mark.parametrize(
    'labels',
    [[], [[NAN, NAN]], [[0, 0], [0, 0]], [[1, 0]]],
    ids=['no image', 'unknown', 'negative', 'one image'],
)
def test_details_where_little_is_defined(labels):
    scores = [[0.25, 0.25]] * len(labels)
    for kind, extra in (('multi-label', set()), ('multi-class', {'accuracy'})):
        _, _, found = details(labels, scores, kind=kind)
        keys = DETAILS | {'AUC', 'AUC/a', 'AUC/b', 'n_classes'} | extra
        assert set(found) == keys
        assert found['n_classes'] == 0
        defined = {k for k in keys if not math.isnan(found[k])}
        expected = {'n_classes'}
        if labels == [[1, 0]]:
            expected |= {'AP', 'AP/a', 'ECE', 'ECE/a', 'ECE/b'} | extra
            expected |= {'Brier', 'Brier/a', 'Brier/b'}
        elif labels == [[0, 0], [0, 0]]:
            expected |= {'ECE/a', 'ECE/b', 'Brier/a', 'Brier/b'}
            if kind == 'multi-label':
                expected |= {'ECE', 'Brier'}
        assert defined == expected


def test_skipped_classes_are_named():
    metric, _, found = details([[1, 1], [0, 1]], [[0.9, 0.1], [0.2, 0.3]])
    assert metric.skipped(found) == ['b'] and found['n_classes'] == 1


def random_task(seed, n=150, n_classes=4):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, n_classes)) < 0.3).astype(float)
    scores = ((0.4 * labels + rng.random(labels.shape)) / 1.4).round(2)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    return labels, scores


def test_details_equal_scikit_learn():
    labels, scores = random_task(0)
    thresholds = choose_thresholds(*random_task(1))
    _, _, found = details(labels, scores, 'abcd', thresholds=thresholds)
    values = {key: [] for key in ('AP', 'Brier', 'Sens_at_spec_90', 'F1')}
    values |= {key: [] for key in ('MCC', 'Sensitivity', 'Specificity')}
    for c, name in enumerate('abcd'):
        known = ~np.isnan(labels[:, c])
        truth, answer = labels[known, c], scores[known, c]
        f1, mcc, point = (t[c] for t in thresholds)
        assert found[f'threshold_F1/{name}'] == f1
        assert found[f'threshold/{name}'] == point
        values['Brier'].append(brier_score_loss(truth, answer))
        false, true, _ = roc_curve(truth, answer, drop_intermediate=False)
        values['Sens_at_spec_90'].append(true[false <= 0.1].max())
        for key, label in (('Sensitivity', 1), ('Specificity', 0)):
            rate = recall_score(truth, answer >= point, pos_label=label)
            values[key].append(rate)
        values['AP'].append(average_precision_score(truth, answer))
        values['F1'].append(f1_score(truth, answer >= f1))
        values['MCC'].append(matthews_corrcoef(truth, answer >= mcc))
        for key, of_class in values.items():
            value = pytest.approx(of_class[-1], abs=1e-12)
            assert found[f'{key}/{name}'] == value, key
    for key, of_class in values.items():
        assert found[key] == pytest.approx(np.mean(of_class), abs=1e-12)


def test_accuracy_and_calibration_of_exclusive_classes():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), 200)
    truth = rng.integers(0, 3, 200)
    labels = np.eye(3)[truth]
    labels[:5] = np.nan  # unknown
    labels[5] = 0  # no class at all
    _, _, found = details(labels, scores, 'abc', 'multi-class')
    right = scores.argmax(axis=1) == truth
    assert found['accuracy'] == accuracy_score(
        truth[6:], scores[6:].argmax(axis=1)
    )
    expected = reliability(scores[6:].max(axis=1), right[6:].astype(float))
    assert found['ECE'] == expected.error
    expected = ((scores[6:] - labels[6:]) ** 2).sum(axis=1).mean()
    assert found['Brier'] == pytest.approx(expected)


@pytest.mark.parametrize('kind', ['multi-label', 'multi-class'])
def test_statistics_with_weights_of_one_are_the_metrics(kind):
    labels, scores = random_task(2)
    labels[:, 3] = 0  # no positive
    if kind == 'multi-class':
        labels = np.eye(4)[np.random.default_rng(0).integers(0, 3, 150)]
    thresholds = choose_thresholds(*random_task(1))
    metric, records, found = details(labels, scores, 'abcd', kind, thresholds)
    metric.subset = ('a', 'd')
    found = {
        **metric.compute_unique(records),
        **metric.details(records, thresholds),
    }
    every = np.ones((1, len(records)), np.uint16)
    drawn = metric.statistics(records, thresholds)(every)
    left_out = ('n_classes', 'ECE', 'threshold')
    assert set(drawn) == {k for k in found if not k.startswith(left_out)}
    for key, (value,) in drawn.items():
        assert value == pytest.approx(found[key], abs=0, nan_ok=True), key


def test_options_are_checked_before_any_image():
    for options, message in (
        (dict(rates=[90]), 'rates.*in 0..1'),
        (dict(operating_point=dict(recall=0.9)), 'use one of specificity'),
        (dict(operating_point=dict(specificity=90)), 'in 0..1'),
        (
            dict(operating_point=dict(specificity=0.9, sensitivity=0.9)),
            'give one rate',
        ),
    ):
        with pytest.raises(UserError, match=message):
            ClsMetric(**options)
    for prevalence, message in ((2, 'in 0..1'), ([0.1], '1 values for 2')):
        with pytest.raises(UserError, match=f'prevalence.*{message}'):
            details([], [], prevalence=prevalence)


def test_predictive_values_follow_the_stated_prevalence():
    labels, scores = random_task(0)
    thresholds = choose_thresholds(*random_task(1))
    own, stated = (
        details(
            labels, scores, 'abcd', thresholds=thresholds, prevalence=share
        )[2]
        for share in (None, [0.01, 0.01, 0.5, 0.5])
    )
    assert own['LR+/a'] == stated['LR+/a']
    odds = stated['LR+/a'] * 0.01 / 0.99
    assert stated['PPV/a'] == pytest.approx(odds / (1 + odds))
    assert stated['PPV/a'] < own['PPV/a'] and stated['NPV/a'] > own['NPV/a']


def test_what_has_no_threshold_or_no_end_is_said():
    labels = [[1, 1], [0, 0], [1, 1], [0, 0]]
    scores = [[0.9, 0.2], [0.1, 0.8], [0.8, 0.3], [0.2, 0.7]]
    metric, records, _ = details(labels, scores)
    chosen = metric.choose_thresholds(records)
    found = details(labels, scores, thresholds=chosen)[2]
    assert math.isnan(found['threshold/b']) and math.isnan(found['PPV/b'])
    assert math.isinf(found['LR+/a']) and 'LR+' not in found
    notes = metric.notes(records, found, 'teacher', True)
    assert 'specificity of 0.9 and finds a positive image of b,' in notes[0]
    assert notes[1].startswith('LR+/a: infinite')
    (note,) = metric.notes(records, found, 'teacher', False)
    assert '--thresholds-from val' in note


def test_broken_scores_decide_nothing():
    labels, scores = random_task(4)
    thresholds = choose_thresholds(labels, scores)
    scores[np.flatnonzero(labels[:, 0] == 1)[0], 0] = NAN
    found = details(labels, scores, 'abcd', thresholds=thresholds)[2]
    for key in ('F1', 'MCC', 'Sensitivity', 'Brier', 'Sens_at_spec_90'):
        assert math.isnan(found[f'{key}/a']) and found[f'{key}/b'] > 0


def test_delong_gives_intervals_and_tests_of_all_auc_keys():
    labels, scores = random_task(5)
    labels[:, 3] = 0  # no positive
    metric, records, found = details(labels, scores, 'abcd')
    intervals = metric.normal_intervals(records, None)
    assert set(intervals) == {k for k in found if k.startswith('AUC')}
    assert math.isnan(intervals['AUC/d'].low)
    for key in ('AUC', 'AUC/a'):
        assert intervals[key].low < found[key] < intervals[key].high
    others = details(labels, 0.3 * scores + labels, 'abcd')[1]
    same = metric.normal_differences(records, records, None)
    gaps = metric.normal_differences(records, others, None)
    assert same['AUC'].difference == 0
    assert math.isnan(same['AUC'].p)
    assert gaps['AUC'].high < 0 and gaps['AUC/a'].p < 0.05
    wide = metric.normal_intervals(records, np.arange(len(records)) // 10)
    assert wide['AUC'] != intervals['AUC']
    no_images = metric.normal_intervals([], None)
    assert all(math.isnan(each.low) for each in no_images.values())


def test_order_of_the_images_changes_nothing():
    labels, scores = random_task(3)
    ids = [f'{i:03}' for i in range(len(labels))]
    there = evaluate(labels, scores, 'abcd', ids)
    back = evaluate(labels[::-1], scores[::-1], 'abcd', ids[::-1])
    assert there == back
