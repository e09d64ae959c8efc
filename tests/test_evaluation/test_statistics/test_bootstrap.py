"""Draws, patients, intervals and differences."""

import math

import numpy as np
import pytest

from fx_mm.evaluation.statistics import bootstrap
from fx_mm.evaluation.statistics.bootstrap import (
    draw,
    group_numbers,
    interval,
    intervals,
    paired_intervals,
    resample,
)


def mean_of(values):
    def compute(weights):
        exact = weights.astype(float)
        with np.errstate(invalid='ignore'):
            return dict(mean=exact @ values / exact.sum(axis=1))

    return compute


def test_no_images_give_no_interval():
    draws = draw(mean_of(np.zeros(0)), 0, 10)
    assert draws['mean'].shape == (10,)
    assert all(map(math.isnan, intervals(draws)['mean']))


def test_draws_are_those_of_numpy_and_of_the_seed(monkeypatch):
    rng = np.random.default_rng(7)
    drawn = np.concatenate(list(resample(20, 60, 7)))
    assert drawn.shape == (60, 20) and (drawn.sum(axis=1) == 20).all()
    expected = np.bincount(rng.integers(20, size=20), minlength=20)
    assert (drawn[0] == expected).all()
    monkeypatch.setattr(bootstrap, 'CHUNK', 7)
    assert (np.concatenate(list(resample(20, 60, 7))) == drawn).all()
    assert (np.concatenate(list(resample(20, 60, 8))) != drawn).any()


def test_patients_come_as_a_whole():
    patients = ['b', 'a', 'b', 'c', 'a']
    groups = group_numbers(patients)
    drawn = np.concatenate(list(resample(5, 50, 0, groups)))
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 1] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert group_numbers(None) is None


def test_patients_with_like_images_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    alone = draw(mean_of(values), 400, 500)['mean']
    patients = [str(i // 10) for i in range(400)]
    together = draw(mean_of(values), 400, 500, patients=patients)['mean']
    assert together.std() == pytest.approx(alone.std() * 10**0.5, rel=0.15)


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(size=2000)
    low, high = interval(draw(mean_of(values), 2000)['mean'])
    half = 1.96 * values.std() / 2000**0.5
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_undefined_draws_are_left_out():
    low, high = interval(np.array([np.nan, 1.0, 2.0, np.nan]))
    assert (low, high) == pytest.approx((1.025, 1.975))
    assert math.isnan(interval(np.array([np.nan])).low)


def test_a_pair_is_far_more_alike_than_two_draws():
    rng = np.random.default_rng(0)
    values = rng.normal(size=300)
    better = values + 0.1 + 0.01 * rng.normal(size=300)
    args = [
        part
        for each in (better, values)
        for part in (dict(mean=each.mean()), draw(mean_of(each), 300))
    ]
    found = paired_intervals(*args)['mean']
    assert found.difference == pytest.approx(0.1, abs=0.005)
    assert 0.095 < found.low < found.difference < found.high < 0.105
    wide = interval(args[1]['mean'])
    assert wide.high - wide.low > 20 * (found.high - found.low)


def test_the_same_model_differs_by_nothing():
    values = np.random.default_rng(0).normal(size=30)
    pair = dict(mean=values.mean()), draw(mean_of(values), 30)
    assert paired_intervals(*pair, *pair)['mean'] == (0, 0, 0)
