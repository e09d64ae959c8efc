"""F1, MCC and their thresholds against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from fx_mm.evaluation.statistics.operating_points import (
    OperatingPoints,
    Thresholds,
    choose_thresholds,
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
        np.array([0.3, 0.5, np.nan]), np.array([0.9, 2.0, 0.4])
    )
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 3, (4, len(labels))).astype(np.uint16)
    found = OperatingPoints(labels, scores, thresholds)(weights)
    assert np.isnan(found['F1'][:, 2]).all()
    for name, limits, measure in (
        ('F1', thresholds.f1[:2], f1_score),
        ('MCC', thresholds.mcc, matthews_corrcoef),
    ):
        for r, c in np.ndindex(4, len(limits)):
            index = np.repeat(np.arange(len(labels)), weights[r])
            index = index[~np.isnan(labels[index, c])]
            expected = measure(labels[index, c], scores[index, c] >= limits[c])
            assert found[name][r, c] == pytest.approx(expected, abs=1e-12)
