"""Decisions and their thresholds against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    class_likelihood_ratios,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

from fx_mm.evaluation.statistics.operating_points import (
    OperatingPoints,
    Thresholds,
    choose_thresholds,
    decisions,
)


def random_task(seed, n=80, n_classes=3):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, n_classes)) < 0.3).astype(float)
    scores = (0.3 * labels + rng.random(labels.shape)).round(1) / 1.3
    labels[rng.random(labels.shape) < 0.2] = np.nan
    return labels, scores


def test_no_image_and_one_sided_classes_have_no_threshold():
    for labels in (
        np.zeros((0, 2)),
        np.zeros((3, 2)),
        np.full((3, 2), np.nan),
    ):
        found = choose_thresholds(labels, np.zeros(labels.shape))
        assert np.isnan(found).all()
    # all positive: F1 is defined, MCC is not
    found = choose_thresholds(np.ones((2, 1)), np.array([[0.2], [0.7]]))
    assert found.f1 == [0.2] and np.isnan(found.mcc).all()


def test_scores_that_are_not_finite_have_no_threshold():
    labels, scores = random_task(0)
    scores[np.flatnonzero(labels[:, 1] == 1)[0], 1] = np.nan
    found = choose_thresholds(labels, scores)
    assert np.isnan(found.f1[1]) and not np.isnan(found.f1[0])


@pytest.mark.parametrize('seed', range(5))
def test_the_best_of_all_thresholds_is_chosen(seed):
    labels, scores = random_task(seed)
    found = choose_thresholds(labels, scores)
    for c in range(labels.shape[1]):
        known = ~np.isnan(labels[:, c])
        truth, answer = labels[known, c], scores[known, c]
        for chosen, measure in (
            (found.f1[c], f1_score),
            (found.mcc[c], matthews_corrcoef),
        ):
            best = max(measure(truth, answer >= t) for t in answer)
            assert measure(truth, answer >= chosen) == pytest.approx(best)


@pytest.mark.parametrize('seed', range(3))
def test_counts_of_resamples_equal_scikit_learn(seed):
    labels, scores = random_task(seed)
    thresholds = Thresholds(
        np.array([0.3, 0.5, np.nan]),
        np.array([0.9, 2.0, 0.4]),
        np.array([0.4, np.nan, 0.3]),
    )
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 3, (4, len(labels))).astype(np.uint16)
    found = OperatingPoints(labels, scores, thresholds)(weights)
    assert np.isnan(found['F1'][:, 2]).all()
    assert np.isnan(found['PPV'][:, 1]).all()
    for name, limits, measure in (
        ('F1', thresholds.f1[:2], f1_score),
        ('MCC', thresholds.mcc, matthews_corrcoef),
    ):
        for r, c in np.ndindex(4, len(limits)):
            index = np.repeat(np.arange(len(labels)), weights[r])
            index = index[~np.isnan(labels[index, c])]
            expected = measure(labels[index, c], scores[index, c] >= limits[c])
            assert found[name][r, c] == pytest.approx(expected, abs=1e-12)
    for r, c in np.ndindex(4, 3):
        index = np.repeat(np.arange(len(labels)), weights[r])
        index = index[~np.isnan(labels[index, c])]
        truth, answer = (
            labels[index, c],
            scores[index, c] >= thresholds.point[c],
        )
        if c == 1:
            continue
        ratios = class_likelihood_ratios(truth, answer)
        for name, expected in {
            'Sensitivity': recall_score(truth, answer),
            'Specificity': recall_score(truth, answer, pos_label=0),
            'PPV': precision_score(truth, answer),
            'NPV': precision_score(truth, answer, pos_label=0),
            'LR+': ratios[0],
            'LR-': ratios[1],
        }.items():
            assert found[name][r, c] == pytest.approx(expected), name


def decide(tp, fn, fp, tn, prevalence=np.nan):
    cells = np.array([[[n]] for n in (tp, fn, fp, tn)], float)
    found = decisions(*cells, np.array([prevalence]))
    return {name: float(value[0, 0]) for name, value in found.items()}


def test_what_has_no_images_is_undefined():
    nan = pytest.approx(float('nan'), nan_ok=True)
    assert decide(0, 0, 0, 0) == dict.fromkeys(decide(1, 1, 1, 1), nan)
    # no positive image; with a stated prevalence nothing follows from it
    found = decide(0, 0, 1, 3)
    assert (found['Specificity'], found['PPV'], found['NPV']) == (0.75, 0, 1)
    assert np.isnan([found[k] for k in ('Sensitivity', 'LR+', 'LR-')]).all()
    found = decide(0, 0, 1, 3, 0.1)
    assert np.isnan([found['PPV'], found['NPV']]).all()
    # nothing is found
    found = decide(0, 2, 0, 3)
    assert found['Sensitivity'] == 0 and found['Specificity'] == 1
    assert np.isnan([found['PPV'], found['LR+']]).all()
    assert found['LR-'] == 1 and found['NPV'] == 0.6
    # every finding is right
    assert decide(2, 1, 0, 3)['LR+'] == float('inf')
    assert decide(1, 1, 3, 0)['LR-'] == float('inf')


def test_predictive_values_at_a_prevalence():
    # a mammography text-book case: sensitivity .9, specificity .91, 1 %
    found = decide(90, 10, 9, 91, 0.01)
    assert found['PPV'] == pytest.approx(0.009 / (0.009 + 0.0891))
    assert found['NPV'] == pytest.approx(0.9009 / (0.9009 + 0.001))
    assert found['LR+'] == pytest.approx(10)
    own = decide(90, 10, 9, 91)
    assert own['PPV'] == 90 / 99
    stated = decide(90, 10, 9, 91, 0.5)
    assert stated == pytest.approx(own)
    assert decide(90, 10, 9, 91, 0)['PPV'] == 0
    assert decide(90, 10, 9, 91, 1)['NPV'] == 0


@pytest.mark.parametrize('measure', ['specificity', 'sensitivity'])
@pytest.mark.parametrize('rate', [0.0, 0.7, 0.9, 1.0])
def test_the_operating_point_has_its_rate(measure, rate):
    labels, scores = random_task(3)
    found = choose_thresholds(labels, scores, measure, rate).point
    for c in range(labels.shape[1]):
        known = ~np.isnan(labels[:, c])
        truth, answer = labels[known, c], scores[known, c]
        rates = {
            t: (
                recall_score(truth, answer >= t, pos_label=0),
                recall_score(truth, answer >= t),
            )
            for t in np.unique(answer)
        }
        if measure == 'sensitivity':
            fit = {t: r for t, r in rates.items() if r[1] >= rate}
            if rate:
                assert rates[found[c]] == max(fit.values())
            continue
        fit = {t: r[1] for t, r in rates.items() if r[0] >= rate}
        if any(fit.values()):
            assert rates[found[c]][0] >= rate
            assert rates[found[c]][1] == max(fit.values())
        else:
            assert np.isnan(found[c])


def test_no_score_has_the_specificity():
    labels = np.array([[0.0], [1], [0], [1]])
    scores = np.array([[0.9], [0.8], [0.1], [0.2]])
    assert np.isnan(choose_thresholds(labels, scores).point)
    assert choose_thresholds(labels, scores, 'specificity', 0.5).point == 0.2
    assert choose_thresholds(labels, scores, 'sensitivity', 0.5).point == 0.8
