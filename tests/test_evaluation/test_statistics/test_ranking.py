"""AUC and average precision of resamples against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from fx_mm.evaluation.statistics.ranking import (
    RankedScores,
    auc,
    average_precision,
)


def measure(labels, scores, weights=None):
    if weights is None:
        weights = np.ones((1, len(labels)), np.uint16)
    counts = RankedScores(np.array(labels), np.array(scores)).counts(weights)
    return auc(*counts), average_precision(*counts)


@pytest.mark.parametrize('labels', [[], [np.nan, np.nan], [0.0, 0.0]], ids=str)
def test_without_positives_both_are_nan(labels):
    for value in measure(labels, [0.5] * len(labels)):
        assert np.isnan(value).all() and value.shape == (1,)


def test_positives_only_have_ap_but_no_auc():
    area, precision = measure([1.0, 1.0], [0.2, 0.1])
    assert np.isnan(area[0]) and precision[0] == 1


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.integers(0, 5)),
        max_size=30,
    ),
    st.integers(0, 2**32 - 1),
)
def test_a_resample_is_the_images_repeated(pairs, seed):
    labels = np.array([pair[0] for pair in pairs])
    scores = np.array([pair[1] / 5 for pair in pairs])
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (3, len(pairs))).astype(np.uint16)
    areas, precisions = measure(labels, scores, weights)
    for row, area, precision in zip(weights, areas, precisions):
        index = np.repeat(np.arange(len(row)), row)
        index = index[~np.isnan(labels[index])]
        truth, answer = labels[index], scores[index]
        if not truth.any():
            assert np.isnan(area) and np.isnan(precision)
            continue
        expected = average_precision_score(truth, answer)
        assert precision == pytest.approx(expected, abs=1e-12)
        if truth.all():
            assert np.isnan(area)
        else:
            expected = roc_auc_score(truth, answer)
            assert area == pytest.approx(expected, abs=1e-12)


def test_weights_are_not_changed():
    weights = np.ones((1, 4), np.uint16)
    measure([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], weights)
    assert (weights == 1).all()
