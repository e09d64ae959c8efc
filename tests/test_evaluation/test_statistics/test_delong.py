"""DeLong's covariance against all pairs of images."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fx_mm.evaluation.statistics.bootstrap import group_numbers, sample
from fx_mm.evaluation.statistics.delong import auc_covariance
from fx_mm.evaluation.statistics.ranking import auc_statistics


def pairs(labels, scores):
    """The kernel of all pairs, (positive, negative)."""
    rows, columns = scores[labels == 1], scores[labels == 0]
    gaps = rows[:, None] - columns
    return (gaps > 0) + (gaps == 0) / 2


def by_hand(labels, scores):
    """DeLong et al. 1988, equations 3 to 6, of one truth and K scores."""
    kernels = [pairs(labels, column) for column in scores.T]
    parts = []
    for axis in (1, 0):
        components = np.array([kernel.mean(axis) for kernel in kernels])
        count = components.shape[1]
        parts.append(np.atleast_2d(np.cov(components)) / count)
    return np.array([kernel.mean() for kernel in kernels]), sum(parts)


def obuchowski(labels, scores, patients):
    """Obuchowski 1997 of one score: sums over patients."""
    kernel = pairs(labels, scores)
    auc = kernel.mean()
    m, n = kernel.shape
    owners = patients[labels == 1], patients[labels == 0]
    names = np.unique(patients)
    ten = [(kernel.mean(1) - auc)[owners[0] == p].sum() for p in names]
    one = [(kernel.mean(0) - auc)[owners[1] == p].sum() for p in names]
    ten, one = np.array(ten), np.array(one)
    i, i10, i01 = len(names), *(len(np.unique(o)) for o in owners)
    s10 = i10 / (i10 - 1) / m * (ten**2).sum()
    s01 = i01 / (i01 - 1) / n * (one**2).sum()
    s11 = i / (i - 1) * (ten * one).sum()
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def random_task(seed, n=90, columns=2, strength=0.8):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(float)
    scores = strength * labels[:, None] + rng.normal(size=(n, columns))
    return np.tile(labels[:, None], columns), scores.round(1)


@pytest.mark.parametrize(
    'labels', [[], [np.nan], [0, 0, 0], [1, 1], [1, 0, 0]]
)
def test_too_little_is_undefined(labels):
    labels = np.array(labels, float).reshape(-1, 1)
    scores = np.arange(float(len(labels)))[:, None]
    found = auc_covariance(labels, scores)
    assert np.isnan(found.covariance).all()
    assert np.isnan(found.aucs).all() == (len(labels) < 3 or labels[0] == 0)
    assert all(map(math.isnan, found.interval(np.ones(1))))


def test_scores_that_are_not_finite_are_undefined():
    labels, scores = random_task(0)
    scores[0, 0] = np.nan
    found = auc_covariance(labels, scores)
    assert np.isnan(found.aucs).tolist() == [True, False]
    assert math.isnan(found.contrast(np.array([1, -1])).p)
    assert found.contrast(np.array([0, 1])).p < 1
    labels[0, 0] = np.nan  # unknown: its score does not matter
    assert not np.isnan(auc_covariance(labels, scores).aucs).any()


def test_a_perfect_auc_has_no_normal_interval():
    labels = np.array([[1.0], [1], [0], [0]])
    found = auc_covariance(labels, labels)
    assert found.aucs == [1]
    assert all(map(math.isnan, found.interval(np.ones(1))))


@pytest.mark.parametrize('seed', range(3))
def test_equals_all_pairs(seed):
    labels, scores = random_task(seed, columns=3)
    found = auc_covariance(labels, scores)
    aucs, covariance = by_hand(labels[:, 0], scores)
    np.testing.assert_allclose(found.aucs, aucs, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
    assert aucs[0] == pytest.approx(roc_auc_score(labels[:, 0], scores[:, 0]))
    weights = np.array([1, -1, 0])
    result = found.contrast(weights)
    error = math.sqrt(weights @ covariance @ weights)
    assert result.difference == pytest.approx(aucs[0] - aucs[1])
    assert (result.low, result.high) == pytest.approx(
        stats.norm.interval(0.95, aucs[0] - aucs[1], error)
    )
    z = (aucs[0] - aucs[1]) / error
    assert result.p == pytest.approx(2 * stats.norm.sf(abs(z)))


def test_unknown_labels_are_skipped():
    labels, scores = random_task(5)
    unknown = labels.copy()
    unknown[:20, 0] = np.nan
    found = auc_covariance(unknown, scores)
    kept = auc_covariance(labels[20:], scores[20:])
    assert found.aucs[0] == kept.aucs[0]
    assert found.covariance[0, 0] == pytest.approx(kept.covariance[0, 0])


def test_equals_obuchowski_with_patients():
    labels, scores = random_task(1)
    patients = np.random.default_rng(0).integers(0, 30, len(labels))
    groups = group_numbers([str(p) for p in patients])
    found = auc_covariance(labels[:, :1], scores[:, :1], groups)
    expected = obuchowski(labels[:, 0], scores[:, 0], patients)
    assert found.covariance[0, 0] == pytest.approx(expected, abs=1e-12)


def test_agrees_with_the_bootstrap_for_means_and_patients():
    """Several classes of other labels, and patients with like images."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(150), 4)
    traits = (rng.random((150, 2)) < 0.4).astype(float)[patients]
    scores = traits + rng.normal(size=(150, 2))[patients]
    scores += 0.5 * rng.normal(size=scores.shape)
    aucs = auc_statistics({c: (traits[:, c], scores[:, c]) for c in (0, 1)})
    drawn = sample(
        lambda weights: {'mean': sum(aucs(weights).values()) / 2},
        len(scores),
        400,
        patients=[str(p) for p in patients],
    )
    mean = np.full(2, 0.5)
    found = auc_covariance(traits, scores, patients).interval(mean)
    width = found.high - found.low
    assert found == pytest.approx(drawn.interval('mean'), abs=0.1 * width)
    alone = auc_covariance(traits, scores).interval(mean)
    assert width > 1.5 * (alone.high - alone.low)


def test_covers_the_true_auc_in_19_of_20():
    true = stats.norm.cdf(0.8 / 2**0.5)
    inside = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        labels = np.repeat([1.0, 0.0], (40, 60))[:, None]
        scores = 0.8 * labels + rng.normal(size=labels.shape)
        low, high = auc_covariance(labels, scores).interval(np.ones(1))
        inside.append(low < true < high)
    assert 0.91 < np.mean(inside) < 0.98
