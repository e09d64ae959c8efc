"""Draws, patients, intervals and differences."""

import math

import numpy as np
import pytest
from scipy import stats

from fx_mm.evaluation.statistics import bootstrap
from fx_mm.evaluation.statistics.bootstrap import (
    draw,
    group_numbers,
    interval,
    leave_out,
    resample,
    sample,
)
from fx_mm.evaluation.statistics.ranking import auc_statistics


def mean_of(values):
    def compute(weights):
        exact = weights.astype(float)
        with np.errstate(invalid='ignore'):
            return dict(mean=exact @ values / exact.sum(axis=1))

    return compute


def test_no_images_give_no_interval():
    for bca in (False, True):
        found = sample(mean_of(np.zeros(0)), 0, 10, bca=bca)
        assert found.draws['mean'].shape == (10,)
        assert all(map(math.isnan, found.intervals()['mean']))
        assert all(map(math.isnan, found.minus(found).differences()['mean']))


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
    ours, theirs = (sample(mean_of(each), 300) for each in (better, values))
    found = ours.minus(theirs).differences()['mean']
    assert found.difference == pytest.approx(0.1, abs=0.005)
    assert 0.095 < found.low < found.difference < found.high < 0.105
    wide = ours.interval('mean')
    assert found.p == 2 / 1001
    assert wide.high - wide.low > 20 * (found.high - found.low)


def test_the_same_model_differs_by_nothing():
    values = np.random.default_rng(0).normal(size=30)
    for bca in (False, True):
        same = sample(mean_of(values), 30, bca=bca)
        found = same.minus(same).differences()['mean']
        assert found[:4] == (0, 0, 0, 1)


@pytest.mark.parametrize('patients', [None, [str(i // 3) for i in range(40)]])
def test_bca_intervals_are_those_of_scipy(patients):
    """scipy resamples the units' sums, which is the same statistic."""
    rng = np.random.default_rng(0)
    values = rng.exponential(size=40)
    found = sample(mean_of(values), 40, 5000, 0, patients, bca=True)
    units = [
        np.flatnonzero(np.array(patients) == p)
        for p in sorted(set(patients or ()))
    ]
    units = units or np.arange(40)[:, None]
    sums = np.array([values[unit].sum() for unit in units])
    sizes = np.array([len(unit) for unit in units])
    expected = stats.bootstrap(
        (sums, sizes),
        lambda x, n, axis: x.sum(axis) / n.sum(axis),
        n_resamples=5000,
        paired=True,
        vectorized=True,
        method='BCa',
        rng=np.random.default_rng(1),
    ).confidence_interval
    interval = found.interval('mean')
    width = interval.high - interval.low
    assert interval == pytest.approx(tuple(expected), abs=0.05 * width)
    plain = sample(mean_of(values), 40, 5000, 0, patients).interval('mean')
    # the long tail is on the right
    assert interval.high - plain.high > 0.02 * width
    assert interval.low > plain.low


def test_bca_ends_are_scipys_to_the_last_digit(monkeypatch):
    """With the same draws as scipy's, which is given them as its statistic."""
    values = np.random.default_rng(2).exponential(size=25)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=999, rng=np.random.default_rng(3)
    )
    found = interval(
        expected.bootstrap_distribution,
        values.mean(),
        leave_out(mean_of(values), 25)['mean'],
    )
    assert found == pytest.approx(
        tuple(expected.confidence_interval), abs=1e-12
    )


def test_parts_stand_for_units_where_there_are_many(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.exponential(size=600)
    ends = []
    for most in (1000, 150):
        monkeypatch.setattr(bootstrap, 'LEFT_OUT', most)
        left = leave_out(mean_of(values), 600)['mean']
        assert len(left) == min(most, 600)
        found = sample(mean_of(values), 600, bca=True)
        ends.append(found.interval('mean'))
    width = ends[0].high - ends[0].low
    assert ends[0] == pytest.approx(ends[1], abs=0.02 * width)
    patients = ['a', 'b', 'a', 'c']
    found = np.sort(leave_out(mean_of(np.arange(4.0)), 4, patients)['mean'])
    assert found.tolist() == pytest.approx([1, 5 / 3, 2])


def test_bca_is_undefined_where_a_unit_decides_alone():
    """Without the only positive image there is no AUC."""
    aucs = auc_statistics(
        dict(a=(np.array([1.0, 0, 0, 0]), np.array([0.5, 0.1, 0.6, 0.2])))
    )
    found = sample(aucs, 4, 200, bca=True)
    assert found.values['a'] == pytest.approx(2 / 3)
    assert all(map(math.isnan, found.interval('a')))
    assert not math.isnan(interval(found.draws['a']).low)


def test_p_values_agree_with_the_interval_and_a_t_test():
    rng = np.random.default_rng(4)
    for shift in (0.0, 0.1, 0.25, 0.4):
        gap = rng.normal(shift, 1, 150)
        expected = stats.ttest_1samp(gap, 0).pvalue
        for bca in (False, True):
            found = sample(mean_of(gap), 150, 4000, bca=bca)
            (each,) = found.differences().values()
            assert each.p == pytest.approx(expected, abs=0.05)
            assert (each.p < 0.05) == (each.low > 0 or each.high < 0)


def test_infinite_ratios_have_an_end():
    draws = np.array([1.0, 2, np.inf, np.inf, np.nan])
    assert interval(draws) == (1, math.inf)
