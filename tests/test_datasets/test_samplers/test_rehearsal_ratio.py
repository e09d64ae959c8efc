"""Old tasks in the cycle: their share of the steps, and no lock passes."""

from types import SimpleNamespace

import numpy as np
import pytest

from fx_mm.datasets.samplers import CyclicBatchSampler
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

OLD = {'a/cls': 3, 'a/loc': 5}
NEW = {'b/cls': 64, 'b/seg': 80}


class Images(SimpleNamespace):
    def __len__(self):
        return len(self.empty)


def make(old=OLD, new=NEW, **kwargs):
    datasets = [
        Images(
            task=Task(
                *name.split('/'),
                classes=('x',),
                config=dict(rehearsal='buffer.json') if name in old else {},
            ),
            empty=np.zeros(n, bool),
        )
        for name, n in {**old, **new}.items()
    ]
    source = SimpleNamespace(
        dataset=SimpleNamespace(datasets=datasets), seed=0
    )
    sizes = dict.fromkeys({**old, **new}, 4)
    return CyclicBatchSampler(
        source, batch_size=4, batch_sizes=sizes, **kwargs
    )


def steps_of(sampler):
    found = {}
    schedule = sampler.schedule
    for entry, counts in zip(schedule.passes, schedule.counts):
        for task, count in counts.items():
            place = (task, entry.mode)
            found[place] = found.get(place, 0) + count
    return found


def test_nothing_rehearses():
    one, two = make(old={}), make(old={}, rehearsal_ratio=0.9)
    assert one.schedule.counts == two.schedule.counts
    assert one.pass_batches(0) == two.pass_batches(0)


@pytest.mark.parametrize('order', ['cyclic', 'shuffled', 'concurrent'])
@pytest.mark.parametrize('ratio', [0.01, 0.25, 0.5, 0.8])
def test_the_old_tasks_share_the_ratio(order, ratio):
    steps = steps_of(make(order=order, rehearsal_ratio=ratio))
    plain = steps_of(make(old={}, order=order))
    assert {k: v for k, v in steps.items() if k[0] in NEW} == plain
    old = {k: v for k, v in steps.items() if k[0] in OLD}
    assert set(old) == {(task, 'release') for task in OLD}
    wanted = max(sum(plain.values()) * ratio / (1 - ratio), len(OLD))
    assert sum(old.values()) == pytest.approx(wanted, abs=0.5)
    assert max(old.values()) - min(old.values()) <= 1


def test_few_images_are_walked_again():
    sampler = make()
    place = [entry.task for entry in sampler.schedule.passes].index('a/cls')
    seen = [key.image for b in sampler.pass_batches(place) for key in b]
    assert len(seen) > 3 and set(seen) == {0, 1, 2}


@pytest.mark.parametrize('lock', ['plus', 'heads', 'none'])
def test_lock_plans(lock):
    modes = {mode for task, mode in steps_of(make(lock=lock)) if task in OLD}
    assert modes == ({'lock'} if lock == 'heads' else {'release'})


@pytest.mark.parametrize('ratio', [0, 1, -0.1, '0.5', None])
def test_a_ratio_that_is_none(ratio):
    with pytest.raises(UserError, match='rehearsal_ratio'):
        make(rehearsal_ratio=ratio)


def test_what_cannot_be_shared():
    with pytest.raises(UserError, match='shares the steps itself'):
        make(order='sqrt')
    with pytest.raises(UserError, match='none learns anything new'):
        make(new={})
