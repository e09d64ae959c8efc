"""Batches: homogeneous, reproducible at any point, equal over ranks."""

from collections import Counter
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from fx_mm.datasets.samplers import CyclicBatchSampler
from fx_mm.engine.resume import describe_schedule
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

SIZES = {'a/cls': 37, 'b/loc': 20}
ORDERS = (
    *('cyclic', 'shuffled', 'concurrent', 'proportional', 'sqrt', 'uniform'),
    {'cls': 1, 'loc': 3},
)
EMPTY = np.arange(20) % 2 == 0


class Images(SimpleNamespace):
    def __len__(self):
        return len(self.empty)


def make(rank=0, world=1, sizes=None, seed=3, monkeypatch=None, **kwargs):
    sizes = SIZES if sizes is None else sizes
    datasets = [
        Images(
            task=Task(*name.split('/'), classes=('x',)),
            empty=EMPTY[:n] if name == 'b/loc' else np.zeros(n, bool),
        )
        for name, n in sizes.items()
    ]
    source = SimpleNamespace(
        dataset=SimpleNamespace(datasets=datasets), seed=seed
    )
    if monkeypatch:
        module = 'fx_mm.datasets.samplers.cyclic_sampler'
        monkeypatch.setattr(f'{module}.get_rank', lambda: rank)
        monkeypatch.setattr(f'{module}.get_world_size', lambda: world)
    kwargs.setdefault('batch_sizes', {'a/cls': 8, 'b/loc': 4})
    return CyclicBatchSampler(source, batch_size=8, **kwargs)


def test_one_pass_shows_each_image_at_most_once_and_drops_the_rest():
    sampler = make(lock='none')
    assert sampler.schedule.lengths == [4, 5]
    seen = [key.image for batch in sampler.pass_batches(0) for key in batch]
    assert len(seen) == len(set(seen)) == 32


@pytest.mark.parametrize('order', ORDERS)
def test_batches_are_of_one_task(order):
    for batch in islice(iter(make(order=order)), 30):
        assert len({key.task for key in batch}) == 1


def test_a_lock_pass_walks_a_fresh_half():
    sampler = make(lock='paper')
    assert [p.mode for p in sampler.schedule.passes] == [
        'release',
        'lock',
        'release',
    ]
    assert sampler.schedule.lengths == [4, 2, 5]
    halves = [
        {key.image for batch in sampler.pass_batches(i) for key in batch}
        for i in (1, 4, 7)
    ]
    assert all(len(half) == 8 for half in halves)
    assert halves[0] != halves[1] or halves[1] != halves[2]


@pytest.mark.parametrize('order', ORDERS)
def test_any_iteration_is_reached_without_walking(order):
    sampler = make(order=order)
    straight = list(islice(iter(sampler), 40))
    for start in (0, 1, 10, 11, 25):
        sampler.start = start
        assert list(islice(iter(sampler), 40 - start)) == straight[start:]


@pytest.mark.parametrize('order', ORDERS)
def test_a_pass_drawn_alone_is_the_one_met_by_walking(order):
    walked = make(order=order)
    batches = iter(walked)
    for index in range(2 * walked.schedule.passes_per_cycle):
        length = walked.schedule.length(index)
        met = list(islice(batches, length))
        assert make(order=order).pass_batches(index) == met


def tasks_of(batches):
    return Counter(batch[0].task for batch in batches)


def test_a_mixed_cycle_locks_its_tasks_together():
    sampler = make(order='concurrent', lock='paper')
    assert sampler.schedule.passes == [('mixed', 'lock'), ('mixed', 'release')]
    assert sampler.schedule.lengths == [2, 9]
    assert tasks_of(sampler.pass_batches(0)) == {1: 2}
    assert tasks_of(sampler.pass_batches(1)) == {0: 4, 1: 5}
    assert len(sampler) == 2


def test_a_concurrent_pass_is_one_shuffled_stream():
    sampler = make(order='concurrent', lock='none')
    orders = []
    for index in range(6):
        batches = sampler.pass_batches(index)
        seen = [(key.task, key.image) for batch in batches for key in batch]
        assert len(set(seen)) == len(seen) == 4 * 8 + 5 * 4
        orders.append(tuple(batch[0].task for batch in batches))
    assert len(set(orders)) > 3


def test_a_task_is_used_up_before_it_is_reshuffled():
    sampler = make(order={'cls': 1, 'loc': 8}, lock='none')
    for index in (0, 1):
        batches = sampler.pass_batches(index)
        assert tasks_of(batches) == {0: 1, 1: 8}
        seen = [k.image for batch in batches for k in batch if k.task == 1]
        assert len(set(seen[:20])) == 20
        assert len(set(seen[20:])) == 12
        assert seen[:12] != seen[20:]


def test_box_free_images_and_caps_in_a_mixed_pass():
    sampler = make(
        order='concurrent',
        lock='none',
        box_free_share={'b/loc': 0.25},
        max_batches=dict(cls=3),
    )
    batches = sampler.pass_batches(0)
    assert tasks_of(batches) == {0: 3, 1: 3}
    for batch in batches:
        if batch[0].task == 1:
            assert sum(EMPTY[key.image] for key in batch) == 1


def test_a_shuffled_cycle_walks_the_images_of_the_cyclic_one():
    cyclic, shuffled = make(), make(order='shuffled')
    for index in range(4 * 3):
        place = cyclic.schedule.passes.index(shuffled.schedule[index])
        same = index // 3 * 3 + place
        assert shuffled.pass_batches(index) == cyclic.pass_batches(same)


def test_what_a_checkpoint_says_of_a_cycle():
    rows = {}
    for order in ('cyclic', 'shuffled', 'concurrent', 'uniform'):
        sampler = make(order=order)
        rows[order] = describe_schedule(sampler.schedule)
        list(islice(iter(sampler), 30))
        assert describe_schedule(sampler.schedule) == rows[order]
    assert rows['cyclic'] == [
        ['a/cls', 'release', 4],
        ['b/loc', 'lock', 2],
        ['b/loc', 'release', 5],
    ]
    assert rows['shuffled'] == [[*row, 3] for row in rows['cyclic']]
    assert rows['concurrent'] == [
        ['mixed', 'lock', 2, {'b/loc': 2}],
        ['mixed', 'release', 9, {'a/cls': 4, 'b/loc': 5}],
    ]
    assert rows['uniform'][1][3] == {'a/cls': 5, 'b/loc': 4}


def test_an_unknown_order():
    with pytest.raises(UserError, match='cycle.order is "random"'):
        make(order='random')


def test_seed_changes_the_order():
    first = next(iter(make(seed=0)))
    assert first != next(iter(make(seed=1)))
    assert first == next(iter(make(seed=0)))


@pytest.mark.parametrize('order', ORDERS)
def test_ranks_split_the_same_global_batch(monkeypatch, order):
    kwargs = dict(
        monkeypatch=monkeypatch,
        batch_sizes={'a/cls': 4, 'b/loc': 2},
        order=order,
    )
    ranks = [make(rank=r, world=2, **kwargs) for r in (0, 1)]
    for one, two in zip(islice(iter(ranks[0]), 12), islice(ranks[1], 12)):
        assert one[0].task == two[0].task
        assert len(one) == len(two)
        assert not {k.image for k in one} & {k.image for k in two}


def test_share_of_box_free_images():
    sampler = make(lock='none', box_free_share={'b/loc': 0.25})
    for batch in sampler.pass_batches(1):
        assert sum(EMPTY[key.image] for key in batch) == 1


def test_fewer_images_than_a_batch_wrap_around():
    sampler = make(sizes={'a/cls': 3})
    (batch,) = sampler.pass_batches(0)
    assert len(batch) == 8
    assert {key.image for key in batch} == {0, 1, 2}
    assert len({key.seed for key in batch}) == 8


def test_cap_on_a_pass():
    sampler = make(max_batches=dict(loc=3), lock='paper')
    assert sampler.schedule.lengths == [4, 1, 3]


@pytest.mark.parametrize('share', [-0.1, 1.5])
def test_impossible_share(share):
    with pytest.raises(UserError, match='must be in 0..1'):
        make(lock_data_ratio=share)


def test_no_images():
    with pytest.raises(UserError, match='"a/cls" has no training images'):
        make(sizes={'a/cls': 0})


def test_few_images_are_walked_until_a_pass_has_its_steps():
    sampler = make(sizes={'a/cls': 3, 'b/loc': 20}, min_batches=10)
    assert sampler.schedule.lengths == [10, 5, 10]
    drawn = Counter(
        key.image for batch in sampler.pass_batches(0) for key in batch
    )
    assert sum(drawn.values()) == 80
    assert max(drawn.values()) - min(drawn.values()) <= 1
    capped = make(min_batches=10, max_batches=4, lock='none')
    assert capped.schedule.lengths == [4, 4]
    with pytest.raises(UserError, match='cycle.min_batches is 0'):
        make(min_batches=0)


def test_heads_alone_walk_all_the_data():
    sampler = make(lock='heads')
    assert [tuple(entry) for entry in sampler.schedule.passes] == [
        ('a/cls', 'lock'),
        ('b/loc', 'lock'),
    ]
    assert sampler.schedule.lengths == [4, 5]
    assert make(lock='paper').schedule.lengths == [4, 2, 5]
