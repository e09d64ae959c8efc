"""Optimizer groups: everything once, in few groups."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from fx_mm.engine.optim import MultiTaskOptimWrapper
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


def build(model, **paramwise):
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('fx_mm'):
        return build_optim_wrapper(
            model,
            dict(
                type='MultiTaskOptimWrapper',
                constructor='MergedOptimWrapperConstructor',
                optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.2),
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


def make(**kwargs):
    model = nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    cfg = dict(type='MultiTaskOptimWrapper', optimizer=optimizer, **kwargs)
    return model, OPTIM_WRAPPERS.build(cfg)


def test_clipping_is_per_kind():
    model, wrapper = make(clip_grad=dict(loc=dict(max_norm=0.1)))
    for kind, norm in (('loc', 0.1), ('cls', 20.0)):
        before = model.weight.detach().clone()
        wrapper.set_kind(kind)
        wrapper.update_params(model(torch.full((1, 4), 10.0)).sum())
        moved = (model.weight - before).norm()
        assert moved.item() == pytest.approx(norm, rel=1e-3)


def test_bfloat16_works_on_a_cpu():
    model, wrapper = make(amp_dtype='bfloat16')
    with wrapper.optim_context(model):
        assert model(torch.ones(1, 4)).dtype == torch.bfloat16
    assert model(torch.ones(1, 4)).dtype == torch.float32


def test_unknown_amp_dtype():
    with pytest.raises(UserError, match='"bfloat16" or None'):
        MultiTaskOptimWrapper(
            torch.optim.SGD([torch.zeros(1)], lr=1.0), amp_dtype='bf16'
        )
