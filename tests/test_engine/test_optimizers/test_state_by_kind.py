"""Running averages of the optimizer, kept apart by task kind."""

import io

import pytest
import torch
from torch import nn

from fx_mm.engine.optimizers import MultiTaskOptimWrapper
from fx_mm.utils.errors import UserError

WALK = ['cls', 'cls', 'loc', 'seg', 'loc', 'cls', 'seg', 'seg', 'loc']


def make(weights, **options):
    optimizer = torch.optim.AdamW([weights], lr=0.1, weight_decay=0.01)
    options.setdefault('state_by_kind', True)
    wrapper = MultiTaskOptimWrapper(optimizer, **options)
    wrapper.param_names = {id(weights): 'weights'}
    return wrapper


def weights_of(seed=0):
    return nn.Parameter(torch.randn(4, generator=torch.manual_seed(seed)))


def loss_of(weights, kind, step):
    size = dict(cls=0.1, loc=10.0, seg=1.0)[kind]
    return size * ((weights - step) ** 2).sum()


def walk(wrapper, weights, steps):
    for step in steps:
        wrapper.begin_pass(WALK[step], 0, 1)
        wrapper.update_params(loss_of(weights, WALK[step], step))


def test_each_kind_steps_as_an_optimizer_of_its_own():
    ours, theirs = weights_of(), weights_of()
    walk(make(ours), ours, range(len(WALK)))
    optimizers = {
        kind: torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.01)
        for kind in set(WALK)
    }
    for step, kind in enumerate(WALK):
        optimizers[kind].zero_grad()
        loss_of(theirs, kind, step).backward()
        optimizers[kind].step()
    assert torch.equal(ours, theirs)
    one = weights_of()
    walk(make(one, state_by_kind=False), one, range(len(WALK)))
    assert not torch.allclose(ours, one)


def test_it_goes_on_to_the_bit():
    whole, weights = weights_of(), weights_of()
    walk(make(whole), whole, range(9))
    first = make(weights)
    walk(first, weights, range(5))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert not state['state'] and set(state['state_by_kind']) == set(WALK)
    second = make(weights)
    second.load_state_dict(state)
    assert second.state_dict()['state_by_kind'].keys() == set(WALK)
    walk(second, weights, range(5, 9))
    assert torch.equal(whole, weights)


def test_with_other_parameters_what_fits_goes_on():
    weights, more = weights_of(), nn.Parameter(torch.ones(2))
    first = make(weights)
    walk(first, weights, range(5))
    wrapper = MultiTaskOptimWrapper(
        torch.optim.AdamW([more, weights], lr=0.1), state_by_kind=True
    )
    wrapper.param_names = {id(weights): 'weights', id(more): 'more'}
    wrapper.load_state_dict(first.state_dict())
    states = wrapper.state_dict()['state_by_kind']
    before = first.state_dict()['state_by_kind']
    for kind, state in states.items():
        assert set(state) == {1}
        assert torch.equal(state[1]['exp_avg'], before[kind][0]['exp_avg'])


def test_states_of_the_other_form_are_refused():
    weights = weights_of()
    one, many = make(weights, state_by_kind=False), make(weights)
    walk(one, weights, [0])
    walk(many, weights, [0])
    for wrapper, other in ((one, many), (many, one)):
        with pytest.raises(UserError, match='differ in optim_wrapper.state_b'):
            wrapper.load_state_dict(other.state_dict())


def test_in_a_mixed_pass_the_batch_says_the_kind():
    ours, theirs = weights_of(), weights_of()
    wrapper = make(ours)
    wrapper.begin_pass(None, 0, len(WALK))
    for step, kind in enumerate(WALK):
        wrapper.begin_step(f'a/{kind}')
        wrapper.update_params(loss_of(ours, kind, step))
    walk(make(theirs), theirs, range(len(WALK)))
    assert torch.equal(ours, theirs)


def test_updates_of_several_kinds_are_refused():
    weights = weights_of()
    wrapper = make(weights, accumulative_counts=2)
    wrapper.begin_pass(None, 0, 4)
    wrapper.begin_step('a/cls')
    wrapper.update_params(loss_of(weights, 'cls', 0))
    wrapper.begin_step('b/cls')
    with pytest.raises(UserError, match='updates of one kind each'):
        wrapper.begin_step('a/seg')


def test_shared_out_state_is_refused():
    optimizer = torch.optim.AdamW([weights_of()])
    optimizer.gather_state = None
    with pytest.raises(UserError, match='does not work with ShardedOptim'):
        MultiTaskOptimWrapper(optimizer, state_by_kind=True)
