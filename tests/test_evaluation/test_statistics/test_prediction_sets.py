"""Prediction sets against their definitions."""

import math

import numpy as np
import pytest

from fx_mm.evaluation.statistics.prediction_sets import (
    compare_sets,
    conformal_sets,
    corrected_quantile,
    draw_calibration,
    measure,
    pooled_sets,
)

LEVEL = 0.9


def make(images=800, members=5, seed=0):
    """Return a pool of noisy probabilities, and labels."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-0.5, 1.5, images)
    labels = (rng.random(images) < 1 / (1 + np.exp(-truth))).astype(float)
    noise = rng.normal(0, 0.7, (members, images))
    pool = 1 / (1 + np.exp(-(truth + noise)))
    return pool, labels, rng


def test_too_few_images_give_all_labels():
    assert corrected_quantile(np.zeros(0), LEVEL) == math.inf
    pool, labels, _ = make(8)
    calibration = np.arange(8) < 4
    for sets, _ in (
        pooled_sets(pool, labels, calibration, LEVEL),
        conformal_sets(pool[0], labels, calibration, LEVEL),
    ):
        assert sets.all()
    assert np.isnan(measure(sets, np.full(8, np.nan), calibration)).all()


def test_quantile_counts_the_next_one():
    scores = np.arange(9.0)
    assert corrected_quantile(scores, LEVEL) == 8
    assert corrected_quantile(scores[:8], LEVEL) == math.inf
    # (99 + 1) * 0.9 is 90, rounding or not
    assert corrected_quantile(np.arange(99.0), LEVEL) == 89


def test_pooled_sets_by_search():
    """Gamma is the smallest that covers enough, found here by trying."""
    pool, labels, _ = make(200)
    calibration = np.arange(200) < 100
    sets, gamma = pooled_sets(pool, labels, calibration, LEVEL)
    middle = np.median(pool, axis=0)
    half = np.ptp(pool, axis=0) / 2

    def covered(gamma):
        low, high = middle - gamma * half, middle + gamma * half
        right = np.where(labels == 1, high >= 0.5, low <= 0.5)
        return right[calibration].sum()

    needed = math.ceil(101 * LEVEL)
    assert covered(gamma + 1e-9) >= needed > covered(gamma - 1e-9)
    assert measure(sets, labels, calibration)[0] >= LEVEL


def test_conformal_sets_by_definition():
    pool, labels, _ = make(120)
    calibration = np.arange(120) < 60
    scores = pool[0]
    sets, q = conformal_sets(scores, labels, calibration, LEVEL)
    of_truth = sorted(
        1 - (p if y else 1 - p) for p, y in zip(scores[:60], labels[:60])
    )
    assert q == of_truth[math.ceil(61 * LEVEL) - 1]
    expected = [[1 - p >= 1 - q, p >= 1 - q] for p in scores]
    assert (sets == expected).all()


@pytest.mark.parametrize('unknown', [0, 0.3])
def test_coverage_over_repeats(unknown):
    """At least .88 at a nominal .90 in the mean of 20 draws."""
    pool, labels, rng = make(900)
    labels[rng.random(900) < unknown] = np.nan
    groups = np.arange(900) // 2
    found = {'pooled': [], 'split conformal': []}
    for _ in range(20):
        calibration = draw_calibration(900, 0.5, rng, groups)
        assert calibration.sum() == 450
        assert (calibration[::2] == calibration[1::2]).all()
        compared = compare_sets(
            pool[..., None],
            pool[0][:, None],
            labels[:, None],
            calibration,
            LEVEL,
        )
        for name, coverage in compared.items():
            found[name].append(coverage.coverage)
    for values in found.values():
        assert np.mean(values) == pytest.approx(LEVEL, abs=0.02)


def test_a_pool_of_one_opinion_is_widened():
    scores = np.array([0.1] * 50 + [0.9] * 50)
    labels = np.r_[np.zeros(40), np.ones(10), np.ones(40), np.zeros(10)]
    calibration = np.arange(100) % 2 == 0
    pool = np.stack([scores, scores])
    sets, gamma = pooled_sets(pool, labels, calibration, LEVEL)
    assert math.isfinite(gamma) and gamma > 0
    assert sets.all()
