"""Optimizer groups: everything once, in few groups."""

from dataclasses import replace

import pytest
import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fx_mm.engine.optimizers.constructor import check_trained, prefer_fused
from fx_mm.engine.optimizers.optim_wrapper import MultiTaskOptimWrapper
from fx_mm.models.param_groups import ParamGroup
from fx_mm.registry import OPTIM_WRAPPERS
from fx_mm.utils.errors import UserError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.head = nn.Linear(2, 1)


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = Net()
        self.teacher = Net().requires_grad_(False)


def build(model, optimizer=None, **paramwise):
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('fx_mm'):
        return build_optim_wrapper(
            model,
            dict(
                type='MultiTaskOptimWrapper',
                constructor='MergedOptimWrapperConstructor',
                optimizer=dict(
                    dict(type='AdamW', lr=0.1, weight_decay=0.2),
                    **optimizer or {},
                ),
                paramwise_cfg=paramwise or None,
            ),
        )


def names_of(model, wrapper):
    names = {id(p): n for n, p in model.named_parameters()}
    return [
        [names[id(p)] for p in group['params']]
        for group in wrapper.optimizer.param_groups
    ]


def test_equal_settings_share_a_group():
    model = Twins()
    wrapper = build(model, custom_keys=dict(backbone=dict(lr_mult=0.1)))
    assert [len(g) for g in names_of(model, wrapper)] == [4, 2]
    assert [g['lr'] for g in wrapper.optimizer.param_groups] == pytest.approx(
        [0.01, 0.1]
    )


def test_rates_are_named_by_what_multiplies_them():
    model = Twins()
    keys = {'backbone.0': dict(lr_mult=0.5), 'head': dict(lr_mult=0.5)}
    wrapper = build(
        model,
        custom_keys={
            **keys,
            'backbone.1': dict(decay_mult=0.0),
            'head.bias': dict(lr_mult=2.0),
        },
        norm_decay_mult=0.0,
    )
    rates = {'lr': 0.1, 'lr/backbone.0+head': 0.05, 'lr/head.bias': 0.2}
    assert wrapper.applied_rates() == pytest.approx(rates)
    model.student.backbone.requires_grad_(False)
    del rates['lr']
    assert wrapper.applied_rates() == pytest.approx(rates)
    assert build(Twins()).applied_rates() == {'lr': 0.1}


def test_without_settings_there_is_one_group():
    model = Twins()
    (group,) = names_of(model, build(model))
    assert len(group) == 6
    assert all(name.startswith('student.') for name in group)


def test_norms_and_biases_may_go_without_decay():
    model = Twins()
    wrapper = build(model, norm_decay_mult=0.0, bias_decay_mult=0.0)
    decay = {
        name: group['weight_decay']
        for names, group in zip(
            names_of(model, wrapper), wrapper.optimizer.param_groups
        )
        for name in names
    }
    assert decay['student.backbone.0.weight'] == 0.2
    assert decay['student.backbone.0.bias'] == 0
    assert decay['student.backbone.1.weight'] == 0
    assert set(decay.values()) == {0.0, 0.2}


@pytest.mark.parametrize(
    'paramwise, message',
    [
        (dict(custom_keys=dict(bakbone=dict(lr_mult=2))), '"bakbone"'),
        (dict(norm_decay=0), 'Unknown key "norm_decay"'),
        (dict(norm_decay_mult=None), 'paramwise_cfg.norm_decay_mult is None'),
        (dict(bias_decay_mult='x'), 'bias_decay_mult is .*must be a number'),
        (dict(custom_keys=dict(head=None)), r'\["head"\] is None; .* a dict'),
        (
            dict(custom_keys=dict(head=dict(lr_mult=[]))),
            r'custom_keys\["head"\].lr_mult is \[\]; it must be a number',
        ),
        (
            dict(custom_keys=dict(head=dict(decay_mult=-1))),
            'decay_mult is -1; it must be a number, at least 0',
        ),
        (dict(optimizer=dict(type=None)), 'optimizer has no "type"; add'),
        (dict(optimizer=dict(type=[1])), r'type is \[1\]; .* name of a class'),
        (dict(optimizer=dict(lr=None)), 'optimizer.lr is None; it must be a'),
        (dict(optimizer=dict(weight_decay='x')), "weight_decay is 'x'; it m"),
    ],
)
def test_mistakes(paramwise, message):
    with pytest.raises(UserError, match=message):
        build(Twins(), **paramwise)


def test_a_frozen_parameter_stops_the_build():
    model = Twins()
    model.student.head.bias.requires_grad_(False)
    with pytest.raises(UserError, match='"head.bias" is frozen'):
        build(model)


def test_a_parameter_outside_the_student_stops_the_build():
    model = Twins()
    model.scale = nn.Parameter(torch.ones(1))
    with pytest.raises(UserError, match="or not the student's: scale"):
        build(model)
    model.scale.requires_grad_(False)
    build(model)


def test_a_parameter_of_no_part_stops_the_build():
    class Parts(Net):
        def param_groups(self):
            return self.groups

    model = Twins()
    model.student = Parts()
    own, head = (ParamGroup(n, None, (n,)) for n in ('backbone', 'head'))
    model.student.groups = [own, head]
    build(model)
    model.student.scale = nn.Parameter(torch.ones(1))
    with pytest.raises(UserError, match='"scale" is in no group of the mode'):
        build(model)
    del model.student.scale
    model.student.groups = [own, head, replace(head, name='other')]
    with pytest.raises(UserError, match='"head.weight" is in head and other'):
        build(model)


@pytest.mark.parametrize(
    ('optimizer', 'device', 'fused'),
    [
        (dict(type='AdamW'), 'cuda', True),
        (dict(type='AdamW'), 'cpu', None),
        (dict(type='AdamW', fused=False), 'cuda', False),
        (dict(type='Adam', foreach=True), 'cuda', None),
        (dict(type='SGD'), 'cuda', None),
    ],
)
def test_fused_kernels_are_taken_on_a_gpu(optimizer, device, fused):
    prefer_fused(optimizer, torch.device(device))
    assert optimizer.get('fused') is fused


def make(optimizer=None, **kwargs):
    model = nn.Linear(4, 1, bias=False)
    build = optimizer or torch.optim.SGD
    optimizer = build(model.parameters(), lr=1.0)
    cfg = dict(type='MultiTaskOptimWrapper', optimizer=optimizer, **kwargs)
    return model, OPTIM_WRAPPERS.build(cfg)


def test_clipping_is_per_kind():
    model, wrapper = make(clip_grad=dict(loc=dict(max_norm=0.1)))
    for kind, norm in (('loc', 0.1), ('cls', 20.0)):
        before = model.weight.detach().clone()
        wrapper.begin_pass(kind, 0, 1)
        wrapper.update_params(model(torch.full((1, 4), 10.0)).sum())
        moved = (model.weight - before).norm()
        assert moved.item() == pytest.approx(norm, rel=1e-3)


def test_bfloat16_works_on_a_cpu():
    model, wrapper = make(amp_dtype='bfloat16')
    with wrapper.optim_context(model):
        assert model(torch.ones(1, 4)).dtype == torch.bfloat16
    assert model(torch.ones(1, 4)).dtype == torch.float32


def test_unknown_amp_dtype():
    with pytest.raises(UserError, match='bfloat16 or float16'):
        MultiTaskOptimWrapper(
            torch.optim.SGD([torch.zeros(1)], lr=1.0), amp_dtype='bf16'
        )


def run_pass(wrapper, model, values):
    """Walk a pass whose losses are ``weight * value``; give the steps."""
    steps = []
    wrapper.begin_pass('cls', 0, len(values))
    for value in values:
        before = model.weight.detach().clone()
        wrapper.update_params(model(torch.full((1, 4), value)).sum())
        steps.append((before - model.weight).detach()[0, 0].item())
    return steps


def test_accumulation_is_flushed_at_the_end_of_a_pass():
    model, wrapper = make(accumulative_counts=2)
    steps = run_pass(wrapper, model, [1.0, 3.0, 5.0])
    # the mean of two, then of the one that is left
    assert steps == pytest.approx([0, 2, 5])
    assert run_pass(wrapper, model, [1.0, 1.0]) == pytest.approx([0, 1])


def test_a_pass_that_was_begun_goes_on():
    model, wrapper = make(accumulative_counts=2)
    wrapper.begin_pass('cls', 4, 5)
    assert wrapper.at_update
    wrapper.update_params(model(torch.full((1, 4), 7.0)).sum())
    assert wrapper.at_update
    wrapper.begin_pass('cls', 2, 5)
    wrapper.update_params(model(torch.ones(1, 4)).sum())
    assert not wrapper.at_update


def fused(params, lr):
    return torch.optim.AdamW(params, lr=lr, fused=True)


def state_of(model, wrapper):
    """Weights and what the optimizer keeps of them."""
    (state,) = wrapper.optimizer.state.values() or [{}]
    return [model.weight.detach().clone(), *map(torch.clone, state.values())]


@pytest.mark.parametrize('optimizer', [None, torch.optim.AdamW, fused])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('clip', [None, dict(cls=dict(max_norm=1.0))])
def test_what_is_not_finite_changes_nothing(value, clip, optimizer):
    model, wrapper = make(optimizer, clip_grad=clip)
    wrapper.begin_pass('cls', 0, 9)
    for _ in range(2):
        wrapper.update_params(model(torch.ones(1, 4)).sum())
        assert not wrapper.last_skipped
        before = state_of(model, wrapper)
        for _ in range(2):
            wrapper.update_params(model(torch.full((1, 4), value)).sum())
            assert wrapper.last_skipped
            after = state_of(model, wrapper)
            assert all(map(torch.equal, before, after))


class Reads(TorchDispatchMode):
    """Count how often a value is read on the host."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize('amp_dtype', [None, 'bfloat16', 'float16'])
@pytest.mark.parametrize('clip', [None, dict(cls=dict(max_norm=1.0))])
def test_a_fused_step_reads_nothing(clip, amp_dtype):
    model, wrapper = make(fused, clip_grad=clip, amp_dtype=amp_dtype)
    wrapper.begin_pass('cls', 0, 9)
    for value in (1.0, float('nan'), 1.0):
        with Reads() as reads:
            wrapper.update_params(model(torch.full((1, 4), value)).sum())
        assert reads.count == 0
    assert model.weight.isfinite().all()


@pytest.mark.parametrize('clip', [None, dict(cls=dict(max_norm=1.0))])
def test_the_flag_of_a_fused_step_changes_no_bit(clip):
    model, wrapper = make(fused, clip_grad=clip)
    twin = nn.Linear(4, 1, bias=False)
    twin.load_state_dict(model.state_dict())
    plain = fused(twin.parameters(), lr=1.0)
    wrapper.begin_pass('cls', 0, 9)
    for _ in range(5):
        inputs = torch.randn(1, 4)
        wrapper.update_params(model(inputs).square().sum())
        plain.zero_grad()
        twin(inputs).square().sum().backward()
        if clip:
            nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        plain.step()
    ours = state_of(model, wrapper)
    (state,) = plain.state.values()
    assert all(map(torch.equal, ours, [twin.weight, *state.values()]))


def test_float16_scales_and_lowers_its_scale():
    model, wrapper = make(amp_dtype='float16')
    wrapper.begin_pass('cls', 0, 9)
    start = wrapper.scaler.get_scale()
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 4))
    assert output.dtype == torch.float16
    before = model.weight.detach().clone()
    wrapper.update_params(output.float().sum() / 4)
    moved = (before - model.weight).detach()
    torch.testing.assert_close(moved, torch.full((1, 4), 0.25))
    # gradients overflow, the loss does not
    wrapper.update_params(model(torch.full((1, 4), 1e36)).sum())
    assert wrapper.scaler.get_scale() == start / 2
    assert not wrapper.last_skipped
    wrapper.update_params(model(torch.full((1, 4), float('inf'))).sum())
    assert wrapper.last_skipped
    other = make(amp_dtype='float16')[1]
    other.load_state_dict(wrapper.state_dict())
    assert other.scaler.get_scale() == start / 4


class Grown(nn.Module):
    """Net with a new part in the middle and without its backbone's norm."""

    def __init__(self):
        super().__init__()
        self.new = nn.Linear(3, 3)
        self.backbone = nn.Sequential(nn.Linear(2, 2))
        self.head = nn.Linear(2, 1)


def trained(model, **paramwise):
    wrapper = build(model, **paramwise)
    for param in model.parameters():
        param.grad = torch.randn_like(param)
    wrapper.optimizer.step()
    return wrapper


def state_by_name(model, wrapper):
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: state['exp_avg']
        for p, state in wrapper.optimizer.state.items()
    }


@pytest.mark.parametrize('groups', [1, 2])
def test_optimizer_state_is_found_by_name(groups):
    paramwise = {}
    if groups == 2:
        paramwise = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
    old, new = Net(), Grown()
    saved = trained(old, **paramwise)
    saved.optimizer.param_groups[0]['lr'] = 0.007
    wrapper = build(new, **paramwise)
    wrapper.load_state_dict(saved.state_dict())
    before, after = state_by_name(old, saved), state_by_name(new, wrapper)
    assert set(after) == {n for n in before if not n.startswith('backbone.1')}
    for name, value in after.items():
        assert torch.equal(value, before[name])
    lrs = {
        new_name: group['lr']
        for group in wrapper.optimizer.param_groups
        for new_name, p in new.named_parameters()
        if any(p is q for q in group['params'])
    }
    assert lrs['backbone.0.weight'] == 0.007
    # the optimizer goes on with what is new
    for param in new.parameters():
        param.grad = torch.ones_like(param)
    wrapper.optimizer.step()


def test_state_of_another_shape_is_left_out():
    old, new = Net(), Net()
    old.extra = nn.Linear(1, 1)
    new.head = nn.Linear(2, 5)
    saved = trained(old)
    wrapper = build(new)
    wrapper.load_state_dict(saved.state_dict())
    names = set(state_by_name(new, wrapper))
    assert names == {n for n, _ in new.named_parameters() if 'head' not in n}


def test_state_without_names_must_fit():
    wrapper = build(Net())
    state = trained(Grown()).state_dict()
    del state['param_names']
    with pytest.raises(UserError, match='does not fit the model'):
        wrapper.load_state_dict(state)


def test_an_optimizer_of_another_constructor_is_held_to_the_same():
    model = Twins()
    model.scale = nn.Parameter(torch.ones(1))
    every = [p for p in model.parameters() if p.requires_grad]
    wrapper = OptimWrapper(torch.optim.SGD(every, lr=0.1))
    with pytest.raises(UserError, match="or not the student's: scale"):
        check_trained(model, wrapper)
