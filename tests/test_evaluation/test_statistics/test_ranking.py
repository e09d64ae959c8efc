"""Measures of the ranking of resamples against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    roc_auc_score,
    roc_curve,
)

from fx_mm.evaluation.statistics.ranking import (
    RankedScores,
    auc,
    average_precision,
    sensitivity_at,
    specificity_at,
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


def at(labels, scores, rate, weights=None):
    if weights is None:
        weights = np.ones((1, len(labels)), np.uint16)
    counts = RankedScores(np.array(labels), np.array(scores)).counts(weights)
    return sensitivity_at(*counts, rate), specificity_at(*counts, rate)


@pytest.mark.parametrize(
    'labels', [[], [np.nan], [0.0, 0.0], [1.0, 1.0]], ids=str
)
def test_without_both_outcomes_there_is_no_roc_curve(labels):
    for value in at(labels, [0.5] * len(labels), 0.9):
        assert np.isnan(value).all() and value.shape == (1,)


def test_each_positive_comes_with_false_ones():
    found = at([1, 0, 0], [0.5, 0.9, 0.5], 0.9)
    assert [float(value[0]) for value in found] == [0, 0]
    assert at([1, 0, 0], [0.9, 0.1, 0.2], 1.0) == (1, 1)


@pytest.mark.parametrize('rate', [0.0, 0.3, 0.55, 0.7, 0.9, 1.0])
def test_rates_are_those_of_the_roc_curve(rate):
    rng = np.random.default_rng(int(100 * rate))
    labels = (rng.random(60) < 0.4).astype(float)
    scores = (0.7 * labels + rng.normal(size=60)).round(1)
    weights = rng.integers(0, 3, (5, 60)).astype(np.uint16)
    for row, sensitivity, specificity in zip(
        weights, *at(labels, scores, rate, weights)
    ):
        index = np.repeat(np.arange(60), row)
        false, true, _ = roc_curve(
            labels[index], scores[index], drop_intermediate=False
        )
        # what a share of a whole number rounds to
        expected = true[1 - false >= rate - 1e-9].max()
        assert sensitivity == pytest.approx(expected)
        expected = 1 - false[true >= rate - 1e-9].min()
        if rate:
            assert specificity == pytest.approx(expected)
