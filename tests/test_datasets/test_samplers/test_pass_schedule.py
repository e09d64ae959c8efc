"""The cycle: the paper's table, and iterations in closed form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets.samplers.pass_schedule import (
    Pass,
    PassSchedule,
    plan_cycle,
)
from fx_mm.tasks import Task, split_name
from fx_mm.utils.errors import UserError

PAPER_NAMES = [
    *(f'{d}/cls' for d in ('chexpert', 'nih14', 'vindr', 'shenzhen', 'mimic')),
    *('tbx11k/cls', 'tbx11k/loc', 'node21/cls', 'node21/loc'),
    *('candid/cls', 'candid/loc', 'candid/seg', 'rsna/cls', 'rsna/loc'),
    *('chestxdet/cls', 'chestxdet/loc', 'chestxdet/seg'),
    *('siim/cls', 'siim/loc', 'siim/seg'),
]


def tasks(*names):
    return [Task(*split_name(name), ('A', 'B')) for name in names]


PAPER_TASKS = tasks(*PAPER_NAMES)


def test_the_papers_cycle_has_29_passes():
    assert len(PAPER_TASKS) == 20
    assert len(plan_cycle(PAPER_TASKS, 'paper')) == 29


def test_a_dataset_with_three_kinds_walks_the_rows_of_the_paper():
    passes = plan_cycle(tasks('d/cls', 'd/loc', 'd/seg'), 'paper')
    assert passes == [
        Pass('d/cls', 'release'),
        Pass('d/loc', 'lock'),
        Pass('d/loc', 'release'),
        Pass('d/seg', 'lock'),
        Pass('d/seg', 'release'),
    ]


def test_plus_locks_classification_too():
    assert plan_cycle(tasks('d/cls'), 'plus') == [
        Pass('d/cls', 'lock_plus'),
        Pass('d/cls', 'release'),
    ]


def test_none_only_releases():
    assert plan_cycle(tasks('d/loc'), 'none') == [Pass('d/loc', 'release')]


@pytest.mark.parametrize(
    'lock, message',
    [
        ('papr', 'cycle.lock is "papr"'),
        ([], 'cycle.lock is an empty list'),
        ([('x/cls', 'lock')], '"x/cls", which is not'),
        ([('d/cls', 'freeze')], 'mode "freeze"'),
    ],
)
def test_mistakes_in_the_plan(lock, message):
    with pytest.raises(UserError, match=message):
        plan_cycle(tasks('d/cls'), lock)


@pytest.mark.parametrize(
    'lock, modes',
    [
        ('paper', ['lock', 'release']),
        ('plus', ['lock_plus', 'release']),
        ('none', ['release']),
        ([('d/loc', 'release'), ('d/cls', 'lock')], ['lock', 'release']),
    ],
)
def test_a_mixed_cycle_has_a_pass_a_lock_state(lock, modes):
    passes = plan_cycle(tasks('d/cls', 'd/loc'), lock, 'concurrent')
    assert passes == [Pass('mixed', mode) for mode in modes]


def test_the_orders_of_a_shuffled_cycle():
    passes = plan_cycle(PAPER_TASKS, 'paper', 'shuffled')
    counts = [{entry.task: 1} for entry in passes]
    schedule = PassSchedule(passes, counts, shuffle_seed=5)
    cycles = [[schedule[29 * c + i] for i in range(29)] for c in range(4)]
    assert len({tuple(cycle) for cycle in cycles}) == 4
    for cycle in cycles:
        assert sorted(cycle) == sorted(passes)
        for i, entry in enumerate(cycle):
            if entry.mode == 'lock':
                assert cycle[i + 1] == Pass(entry.task, 'release')
    again = PassSchedule(passes, counts, shuffle_seed=5)
    assert [again[29 * 3 + i] for i in range(29)] == cycles[3]
    other = PassSchedule(passes, counts, shuffle_seed=6)
    assert [other[i] for i in range(29)] != cycles[0]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(0, 200),
    st.one_of(st.none(), st.integers(0, 5)),
)
def test_locate_agrees_with_walking(lengths, iteration, seed):
    schedule = PassSchedule(
        [Pass(f'd{i}/cls', 'release') for i in range(len(lengths))],
        [{f'd{i}/cls': length} for i, length in enumerate(lengths)],
        shuffle_seed=seed,
    )
    index, left = 0, iteration
    while left >= schedule.length(index):
        left -= schedule.length(index)
        index += 1
    assert schedule.locate(iteration) == (index, left)
    assert schedule.start(index) + left == iteration
