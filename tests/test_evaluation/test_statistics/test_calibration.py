"""Expected calibration error against a loop."""

import math

import numpy as np
import pytest

from fx_mm.evaluation.statistics.calibration import reliability


def by_hand(probabilities, right, bins):
    pairs = [(p, r) for p, r in zip(probabilities, right) if not math.isnan(r)]
    error = 0.0
    for i in range(bins):
        inside = [
            (p, r)
            for p, r in pairs
            if i / bins < p <= (i + 1) / bins or (i == 0 and p == 0)
        ]
        if inside:
            gap = np.mean([r for _, r in inside])
            gap -= np.mean([p for p, _ in inside])
            error += len(inside) / len(pairs) * abs(gap)
    return error


def test_nothing_known_is_nan():
    for right in (np.zeros(0), np.full(3, np.nan)):
        bins = reliability(np.full(len(right), 0.5), right)
        assert math.isnan(bins.error) and bins.counts.sum() == 0


def test_one_image_and_the_ends():
    assert reliability(np.array([0.8]), np.array([1.0])).error == (
        pytest.approx(0.2)
    )
    bins = reliability(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 4)
    assert bins.counts.tolist() == [1, 0, 0, 1] and bins.error == 0


@pytest.mark.parametrize('bins', [1, 8, 15])
def test_equals_a_loop(bins):
    rng = np.random.default_rng(bins)
    probabilities = rng.random(500)
    probabilities[:50] = rng.integers(0, 9, 50) / 8
    right = (rng.random(500) < probabilities**2).astype(float)
    right[rng.random(500) < 0.2] = np.nan
    found = reliability(probabilities, right, bins).error
    assert found == pytest.approx(by_hand(probabilities, right, bins))


def test_probabilities_that_hold_have_a_small_error():
    rng = np.random.default_rng(0)
    probabilities = rng.random(100_000)
    right = (rng.random(100_000) < probabilities).astype(float)
    assert reliability(probabilities, right).error < 0.01
