"""Adjusted p-values by hand and by their promise."""

import math

import numpy as np
import pytest

from fx_mm.evaluation.statistics.multiplicity import CORRECTIONS, adjust


@pytest.mark.parametrize('correction', CORRECTIONS)
def test_nothing_to_compare(correction):
    assert adjust([], correction).shape == (0,)
    assert np.isnan(adjust([math.nan] * 2, correction)).all()


def test_by_hand():
    # Holm: 4 * .01, 3 * .02, then never below, at most 1
    values = [0.04, 0.01, 0.9, 0.02]
    assert adjust(values) == pytest.approx([0.08, 0.04, 0.9, 0.06])
    # BH: p * 4 / rank, from the largest on never above
    expected = [0.04 * 4 / 3, 0.04, 0.9, 0.04]
    assert adjust(values, 'bh') == pytest.approx(expected)
    assert adjust([0.6, 0.7]).tolist() == [1, 1]


@pytest.mark.parametrize('correction', CORRECTIONS)
def test_undefined_ones_do_not_count(correction):
    found = adjust([0.01, math.nan, 0.04], correction)
    assert found[[0, 2]].tolist() == adjust([0.01, 0.04], correction).tolist()
    assert math.isnan(found[1])


def test_any_false_claim_is_as_rare_as_promised():
    draws = np.random.default_rng(0).random((2000, 10))
    claimed = np.mean([(adjust(row) < 0.05).any() for row in draws])
    assert 0.03 < claimed < 0.07
