"""Mixed orders: shares of the tasks, to the step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets.samplers.mixing import (
    EXPONENTS,
    apportion,
    check_order,
    is_mixed,
    mix_steps,
)
from fx_mm.utils.errors import UserError

TASKS = ('a/cls', 'b/loc', 'c/loc')
weights = st.lists(
    st.floats(1e-3, 1e3, allow_nan=False), min_size=1, max_size=6
)


@given(weights, st.integers(0, 60))
def test_counts_follow_the_ratios_to_the_step(ratios, more):
    total = len(ratios) + more
    counts = apportion(total, ratios)
    assert sum(counts) == total
    assert min(counts) >= 1
    quotas = [total * ratio / sum(ratios) for ratio in ratios]
    for count, quota in zip(counts, quotas):
        if min(quotas) >= 1:
            assert abs(count - quota) < 1 + 1e-9
        elif quota < 1:
            assert count == 1


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 2000)),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(sorted(EXPONENTS)),
)
def test_orders_by_name_are_powers_of_the_images(sizes, order):
    steps = {f'd{i}/cls': n for i, (n, _) in enumerate(sizes)}
    images = {f'd{i}/cls': n for i, (_, n) in enumerate(sizes)}
    powers = [n ** EXPONENTS[order] for _, n in sizes]
    counts = mix_steps(steps, order, images)
    assert list(counts) == list(steps)
    total = sum(steps.values())
    assert list(counts.values()) == apportion(total, powers)


def test_the_orders_differ():
    steps = {'a/cls': 10, 'b/loc': 20}
    images = {'a/cls': 160, 'b/loc': 40}
    assert mix_steps(steps, 'concurrent', images) == steps
    shares = {
        order: list(mix_steps(steps, order, images).values())
        for order in ('proportional', 'sqrt', 'uniform')
    }
    assert shares == dict(
        proportional=[24, 6], sqrt=[20, 10], uniform=[15, 15]
    )
    assert mix_steps(steps, {'cls': 1, 'b/loc': 4.0}, images) == {
        'a/cls': 6,
        'b/loc': 24,
    }


def test_a_task_goes_before_its_kind():
    ratios = {'loc': 1, 'c/loc': 2, 'cls': 1}
    check_order(ratios, TASKS)
    steps = dict.fromkeys(TASKS, 4)
    assert list(mix_steps(steps, ratios, steps).values()) == [3, 3, 6]


def test_which_orders_are_mixed():
    assert not is_mixed('cyclic') and not is_mixed('shuffled')
    assert is_mixed('concurrent') and is_mixed({'cls': 1})


@pytest.mark.parametrize(
    'order, message',
    [
        ('cyclical', 'cycle.order is "cyclical"; it must be one of cyclic'),
        (None, 'cycle.order is None; it must be'),
        (['a/cls'], 'or a dict of task to weight'),
        ({'a/loc': 1}, 'names the task "a/loc", which is not active; did'),
        ({'cls': 1}, 'no weight for the task "b/loc"; add it or "loc"'),
        ({'cls': 1, 'loc': 0}, '"loc" the weight 0; it must be a number'),
        ({'cls': 1, 'loc': 'two'}, "the weight 'two'"),
        ({'cls': float('nan'), 'loc': 1}, 'the weight nan'),
    ],
)
def test_mistakes(order, message):
    with pytest.raises(UserError, match=message):
        check_order(order, TASKS)
