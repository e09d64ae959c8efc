"""The cycle: the paper's table, and iterations in closed form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets.samplers.pass_schedule import (
    Pass,
    PassSchedule,
    plan_cycle,
)
from fx_mm.utils.errors import UserError

PAPER_TASKS = [
    *(f'{d}/cls' for d in ('chexpert', 'nih14', 'vindr', 'shenzhen', 'mimic')),
    *('tbx11k/cls', 'tbx11k/loc', 'node21/cls', 'node21/loc'),
    *('candid/cls', 'candid/loc', 'candid/seg', 'rsna/cls', 'rsna/loc'),
    *('chestxdet/cls', 'chestxdet/loc', 'chestxdet/seg'),
    *('siim/cls', 'siim/loc', 'siim/seg'),
]


def test_the_papers_cycle_has_29_passes():
    assert len(PAPER_TASKS) == 20
    assert len(plan_cycle(PAPER_TASKS, 'paper')) == 29


def test_a_dataset_with_three_kinds_walks_the_rows_of_the_paper():
    passes = plan_cycle(['d/cls', 'd/loc', 'd/seg'], 'paper')
    assert passes == [
        Pass('d/cls', 'release'),
        Pass('d/loc', 'lock'),
        Pass('d/loc', 'release'),
        Pass('d/seg', 'lock'),
        Pass('d/seg', 'release'),
    ]


def test_plus_locks_classification_too():
    assert plan_cycle(['d/cls'], 'plus') == [
        Pass('d/cls', 'lock_plus'),
        Pass('d/cls', 'release'),
    ]


def test_none_only_releases():
    assert plan_cycle(['d/loc'], 'none') == [Pass('d/loc', 'release')]


@pytest.mark.parametrize(
    'lock, message',
    [
        ('papr', 'cycle.lock is "papr"'),
        ([('x/cls', 'lock')], '"x/cls", which is not'),
        ([('d/cls', 'freeze')], 'mode "freeze"'),
    ],
)
def test_mistakes_in_the_plan(lock, message):
    with pytest.raises(UserError, match=message):
        plan_cycle(['d/cls'], lock)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 200)
)
def test_locate_agrees_with_walking(lengths, iteration):
    schedule = PassSchedule([Pass('d/cls', 'release')] * len(lengths), lengths)
    index, left = 0, iteration
    while left >= schedule.length(index):
        left -= schedule.length(index)
        index += 1
    assert schedule.locate(iteration) == (index, left)
    assert schedule.start(index) + left == iteration
