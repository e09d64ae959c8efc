from types import SimpleNamespace

import pytest

from fx_mm.datasets.samplers import SampleKey, TaskSequentialBatchSampler
from fx_mm.utils.errors import UserError

MODULE = 'fx_mm.datasets.samplers.eval_sampler'


def make(lengths, batch_sizes=None, batch_size=4, **kwargs):
    datasets = []
    for name, length in lengths.items():
        items = type('Items', (list,), dict(task=SimpleNamespace(name=name)))
        datasets.append(items(range(length)))
    source = SimpleNamespace(dataset=SimpleNamespace(datasets=datasets))
    return TaskSequentialBatchSampler(
        source, batch_size, batch_sizes=batch_sizes, **kwargs
    )


def test_tasks_one_after_the_other_in_order():
    sampler = make({'a/cls': 5, 'b/loc': 3}, {'a/cls': 2})
    expected = [
        [(0, 0, 0), (0, 1, 0)],
        [(0, 2, 0), (0, 3, 0)],
        [(0, 4, 0)],
        [(1, 0, 0), (1, 1, 0), (1, 2, 0)],
    ]
    assert list(sampler) == expected == list(sampler)
    assert len(sampler) == 4
    assert all(isinstance(key, SampleKey) for b in sampler for key in b)


@pytest.mark.parametrize('world', [1, 2, 3, 8])
def test_every_image_once_over_all_ranks(monkeypatch, world):
    lengths = {'a/cls': 7, 'b/loc': 1, 'c/seg': 12}
    monkeypatch.setattr(f'{MODULE}.get_world_size', lambda: world)
    seen = []
    for rank in range(world):
        monkeypatch.setattr(f'{MODULE}.get_rank', lambda r=rank: r)
        sampler = make(lengths, {'c/seg': 1})
        batches = list(sampler)
        assert len(sampler) == len(batches)
        for batch in batches:
            assert len({key.task for key in batch}) == 1
            assert len(batch) <= (1 if batch[0].task == 2 else 4)
            seen += batch
    expected = [
        SampleKey(task, index, 0)
        for task, length in enumerate(lengths.values())
        for index in range(length)
    ]
    assert sorted(seen) == expected


def test_keeps_the_sampler_for_the_hooks():
    sampler = make({'a/cls': 3})
    assert sampler.sampler.dataset.datasets
    assert sampler.batch_size == 4


def test_mistakes_are_named():
    with pytest.raises(UserError, match='"c/cls".*a/cls'):
        make({'a/cls': 3}, {'c/cls': 2})
    with pytest.raises(UserError, match='"a/cls" is 0'):
        make({'a/cls': 3}, {'a/cls': 0})
    with pytest.raises(UserError, match='drop_last'):
        make({'a/cls': 3}, drop_last=True)
