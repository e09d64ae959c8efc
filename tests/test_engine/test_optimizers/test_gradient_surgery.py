"""Gradients of several tasks in one update."""

import sys

import pytest
import torch
from torch import nn

from fx_mm.engine.optimizers import MultiTaskOptimWrapper
from fx_mm.utils.errors import UserError

pytest.importorskip('torchjd')


class Net(nn.Module):
    """A shared weight of two values, and one own value per task."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Parameter(torch.zeros(2))
        self.a = nn.Parameter(torch.zeros(1))
        self.b = nn.Parameter(torch.zeros(1))
        self.c = nn.Parameter(torch.zeros(1))

    def loss(self, task, slope):
        own = getattr(self, task[0])
        shared = (self.shared * torch.tensor(slope)).sum() if slope else 0
        return shared + 3 * own.sum()


def step(batches, aggregator='PCGrad', **options):
    """The change of each weight by SGD at rate 1, with its sign turned."""
    net = Net()
    wrapper = MultiTaskOptimWrapper(
        torch.optim.SGD(net.parameters(), lr=1.0),
        accumulative_counts=len(batches),
        aggregator=aggregator,
        **options,
    )
    wrapper.begin_pass(None, 0, len(batches))
    for task, slope in batches:
        wrapper.begin_step(task)
        wrapper.update_params(net.loss(task, slope))
    assert wrapper.at_update
    changes = [-p.detach() for p in net.parameters()]
    return changes, wrapper


def project(one, other):
    """Take from ``one`` what points against ``other``."""
    dot = one @ other
    return one - min(dot, 0) / (other @ other) * other


def test_conflicts_are_removed_as_in_the_paper():
    slopes = [1.0, 0.5], [-1.0, 1.0]
    (shared, a, b, _), _ = step([('a/cls', slopes[0]), ('b/loc', slopes[1])])
    one, other = torch.tensor(slopes) / 2  # of two batches
    wanted = project(one, other) + project(other, one)
    torch.testing.assert_close(shared, wanted)
    assert a == b == 1.5


def test_without_conflict_it_is_the_sum():
    batches = [('a/cls', [1.0, 0.0]), ('b/loc', [0.5, 2.0])]
    ours, _ = step(batches)
    theirs, _ = step(batches, aggregator=None)
    torch.testing.assert_close(ours, theirs)


def test_batches_of_a_task_are_one_row():
    batches = [
        ('a/cls', [3.0, 0.0]),
        ('b/loc', [-1.0, 1.0]),
        ('a/cls', [-1.0, 1.0]),
    ]
    (shared, a, b, _), _ = step(batches)
    one, other = torch.tensor([[2.0, 1.0], [-1.0, 1.0]]) / 3
    wanted = project(one, other) + project(other, one)
    torch.testing.assert_close(shared, wanted)
    assert (a, b) == (2.0, 1.0)


def test_a_lone_task_steps_as_ever():
    batches = [('a/cls', [3.0, 0.0]), ('a/cls', [-1.0, 1.0])]
    torch.testing.assert_close(step(batches)[0], step(batches, None)[0])


def test_other_aggregators_and_their_arguments():
    batches = [('a/cls', [1.0, 0.5]), ('b/loc', [-10.0, 10.0])]
    (shared, *_), _ = step(batches, aggregator='IMTLG')
    rows = torch.nn.functional.normalize(
        torch.tensor([slope for _, slope in batches])
    )
    # impartial: the same projection on each task's direction
    torch.testing.assert_close(shared @ rows[0], shared @ rows[1])
    step(batches, aggregator=dict(type='AlignedMTL', scale_mode='median'))


def test_a_task_that_reaches_nothing_shared_is_no_row():
    batches = [('a/cls', [1.0, 0.0]), ('b/loc', [0.5, 2.0])]
    (two, *_), _ = step(batches, aggregator='MGDA')
    (three, *_, c), _ = step([*batches, ('c/seg', None)], aggregator='MGDA')
    torch.testing.assert_close(three, two * 2 / 3)  # the mean of batches
    assert two.norm() > 0 and c == 1


def test_no_draw_is_taken_from_the_run():
    batches = [(f'{x}/cls', [1.0, 0.5]) for x in 'ab']
    torch.manual_seed(0)
    step(batches)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


def test_what_is_not_finite_is_left_out():
    batches = [('a/cls', [1.0, float('nan')]), ('b/loc', [-1.0, 1.0])]
    changes, wrapper = step(batches)
    assert wrapper.last_skipped
    assert not any(map(torch.any, changes))


def test_clipping_is_of_the_update():
    batches = [('a/cls', [1.0, 0.5]), ('b/loc', [-10.0, 10.0])]
    changes, _ = step(batches, clip_grad=dict(loc=dict(max_norm=0.1)))
    assert torch.cat(changes).norm().item() == pytest.approx(0.1, rel=1e-4)


def make(**options):
    optimizer = torch.optim.SGD(Net().parameters(), lr=1.0)
    options = dict(accumulative_counts=2, aggregator='PCGrad', **options)
    return MultiTaskOptimWrapper(optimizer, **options)


def test_mistakes(monkeypatch):
    with pytest.raises(
        UserError, match='cycle.order have one each; set it to'
    ):
        make().begin_pass('cls', 0, 3)
    for options, message in (
        (dict(accumulative_counts=1), 'set optim_wrapper.accumulative_count'),
        (dict(aggregator='PCGrd'), 'must be an aggregator .*AlignedMTL'),
        (dict(aggregator=dict(type='PCGrad', c=1)), "argument 'c'"),
        (dict(aggregator='GradVac'), 'remembers former updates'),
        (dict(aggregator=dict()), 'must be an aggregator'),
    ):
        with pytest.raises(UserError, match=message):
            optimizer = torch.optim.SGD(Net().parameters(), lr=1.0)
            MultiTaskOptimWrapper(
                optimizer,
                **{
                    'accumulative_counts': 2,
                    'aggregator': 'PCGrad',
                    **options,
                },
            )
    monkeypatch.setitem(sys.modules, 'torchjd', None)
    with pytest.raises(UserError, match='pip install torchjd'):
        make()
