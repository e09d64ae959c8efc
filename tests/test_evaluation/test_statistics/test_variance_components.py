"""Variance components against planted ones and a hand-worked table."""

import numpy as np
import pytest

from fx_mm.evaluation.statistics.variance_components import split_variance


@pytest.mark.parametrize('shape', [(0, 0), (1, 5), (3, 1)])
def test_too_little_has_no_components(shape):
    for component in split_variance(np.zeros(shape)):
        assert np.isnan(component).all()


def test_gaps_are_refused():
    with pytest.raises(ValueError, match='without gaps'):
        split_variance(np.array([[1, np.nan], [0, 1]]))


def test_a_table_by_hand():
    # rows differ by 2, columns by 1, nothing is left
    level, seed, rest = split_variance(np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert level.variance == pytest.approx(2)
    assert seed.variance == pytest.approx(0.5)
    assert rest.variance == pytest.approx(0)
    # checkerboard: less between rows than chance makes
    level, _, rest = split_variance(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert (level.variance, level.low) == (-2, 0)
    assert rest.variance == 4


def test_planted_components_are_recovered():
    rng = np.random.default_rng(0)
    planted = np.array([0.04, 0.01, 0.0025])
    draws, inside, values = 200, np.zeros(3), np.zeros(3)
    for _ in range(draws):
        level, seed, rest = np.sqrt(planted)
        table = (
            rng.normal(0, level, (6, 1))
            + rng.normal(0, seed, (1, 8))
            + rng.normal(0, rest, (6, 8))
        )
        found = split_variance(table)
        values += [c.variance for c in found]
        inside += [c.low <= p <= c.high for c, p in zip(found, planted)]
    assert values / draws == pytest.approx(planted, rel=0.15)
    assert (inside / draws >= 0.92).all()
    assert (inside / draws <= 0.99).all()
