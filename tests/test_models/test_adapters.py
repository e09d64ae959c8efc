"""LoRA: what it changes, what learns, what merging gives."""

import copy

import model_helpers as h
import pytest
import torch
from torch import nn

from fx_mm.engine.optimizers import (
    MergedOptimWrapperConstructor,
    MultiTaskOptimWrapper,
)
from fx_mm.models.adapters import LoRA
from fx_mm.models.param_groups import check_coverage
from fx_mm.utils.adapted_weights import merge_adapters
from fx_mm.utils.errors import UserError

ALL = ['qkv', 'proj', 'ffn.layers.0.0', 'ffn.layers.1']
ADAPTER = dict(type='LoRA', rank=4, alpha=8, targets=ALL)
OWN = ['a/seg', 'a/loc', 'a/cls']


@pytest.fixture(scope='module')
def built():
    """A model and one with an adapter, with the same weights otherwise."""
    plain = h.build(noise=0.02)
    adapted = h.build(**{'student.adapter': ADAPTER})
    weights = plain.state_dict()
    result = adapted.load_state_dict(weights, strict=False)
    assert not result.unexpected_keys
    assert all('.adapter.layers.' in name for name in result.missing_keys)
    return plain.eval(), adapted.eval()


@pytest.fixture
def pair(built):
    return copy.deepcopy(built)


@pytest.mark.parametrize('task', OWN)
def test_untrained_it_changes_no_bit(pair, task):
    plain, adapted = pair
    for role in ('student', 'teacher'):
        before = h.outputs(getattr(plain, role), task)
        after = h.outputs(getattr(adapted, role), task)
        assert all(map(torch.equal, before, after))


def test_a_backbones_own_initialisation_leaves_it_at_zero(pair):
    _, adapted = pair
    adapted.init_weights()
    layers = adapted.student.adapter.layers.values()
    assert not any(layer.up.any() for layer in layers)
    assert all(layer.down.any() for layer in layers)


def test_it_adds_the_product_to_each_layer():
    """Against the formula, on a backbone of one layer."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 7))
    plain = copy.deepcopy(backbone)
    lora = LoRA(backbone, rank=2, alpha=6, targets=['0'])
    (layer,) = lora.layers.values()
    layer.up.data.normal_()
    x = torch.randn(3, 4, 5)
    wanted = plain(x) + 3 * (x @ layer.down.T @ layer.up.T)
    torch.testing.assert_close(backbone(x), wanted)
    lora.detach()
    assert torch.equal(backbone(x), plain(x))


def merged_pair(pair):
    """A model with an adapter, and one that it is merged into."""
    plain, adapted = pair
    h.move_adapter(adapted.student)
    merged = merge_adapters(adapted.student.state_dict(), 'x.pth')
    plain.student.load_state_dict(merged)
    return adapted.student, plain.student


def relative_errors(before, after):
    assert not all(map(torch.equal, before, after))
    return [
        float((one - other).abs().max() / one.abs().max())
        for one, other in zip(before, after)
    ]


@torch.no_grad()
def test_merged_equals_unmerged(pair):
    """In double precision, where nothing rounds but the merged weights."""
    inputs = h.batch('a/cls')[0].double()
    before, after = (
        model.double().extract_feat(inputs) for model in merged_pair(pair)
    )
    assert max(relative_errors(before, after)) < 1e-6


@pytest.mark.parametrize('task', OWN)
def test_merged_answers_as_unmerged(pair, task):
    """In single precision, whose own rounding depends on the processor."""
    before, after = (h.outputs(model, task) for model in merged_pair(pair))
    assert max(relative_errors(before, after)) < 1e-5


def test_the_teacher_follows_the_adapter_and_has_the_base_in_common(pair):
    _, adapted = pair
    student, teacher = adapted.student, adapted.teacher
    h.move_adapter(student)
    before = h.outputs(teacher, 'a/seg')
    assert not torch.equal(before[0], h.outputs(student, 'a/seg')[0])
    base = set(student.base_weights)
    theirs = dict(teacher.named_parameters())
    for name, ours in student.named_parameters():
        assert (theirs[name] is ours) == (name in base)
    down = [layer.down.clone() for layer in teacher.adapter.layers.values()]
    adapted.update_teacher(0.75)
    for old, new, ours in zip(
        down, teacher.adapter.layers.values(), student.adapter.layers.values()
    ):
        torch.testing.assert_close(new.down, 0.75 * old + 0.25 * ours.down)
    adapted.update_teacher(0.0)
    assert torch.equal(
        h.outputs(teacher, 'a/seg')[0], h.outputs(student, 'a/seg')[0]
    )


def test_without_adapter_nothing_is_added_and_all_learns(pair):
    plain, adapted = pair
    h.move_adapter(adapted.student)
    adapted.drop_adapter()
    for role in ('student', 'teacher'):
        before = h.outputs(getattr(plain, role), 'a/seg')
        assert torch.equal(
            before[0], h.outputs(getattr(adapted, role), 'a/seg')[0]
        )
    assert adapted.state_dict().keys() == plain.state_dict().keys()
    assert all(p.requires_grad for p in adapted.student.parameters())
    ours = {id(p) for p in adapted.student.parameters()}
    assert not ours & {id(p) for p in adapted.teacher.parameters()}


@pytest.mark.parametrize('mode', ['lock', 'release'])
@pytest.mark.parametrize('task', OWN)
def test_what_learns_in_a_pass(pair, task, mode):
    """The base never; the adapter, being shared, in release passes alone."""
    _, model = pair
    student = model.train().student
    h.move_adapter(student)
    before = {k: v.clone() for k, v in student.state_dict().items()}
    student.lock(student.freeze_plan(task, mode))
    model.train()
    assert not student.backbone.training
    assert not student.segmentation.decoder.training
    assert student.adapter.training == (mode == 'release')
    h.backward(model, task)
    learning = h.with_gradient(model)
    groups = {group.name: group for group in student.param_groups()}
    head = groups[f'{task}/head']
    assert any(map(head.owns, learning))
    assert any(n.startswith('adapter.') for n in learning) == (
        mode == 'release'
    )
    assert not learning & set(student.base_weights)
    embedding = 'localization.label_embedding.weight'
    assert (embedding in learning) == (task == 'a/loc' and mode == 'release')
    if mode == 'release' and task == 'a/seg':  # which reads all stages
        assert {n for n, _ in student.adapter.named_parameters('adapter')} <= (
            learning
        )
    after = student.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in student.base_weights)
    student.lock(())
    assert set(student.base) == set(student.locked)


def test_groups_cover_it_and_the_base_is_in_no_optimizer(pair):
    _, model = pair
    student = model.student
    student.lock(())
    names = [name for name, _ in student.named_parameters()]
    check_coverage(student.param_groups(), names)
    constructor = MergedOptimWrapperConstructor(
        dict(
            type=MultiTaskOptimWrapper,
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.01),
        ),
        dict(
            custom_keys={
                'backbone': dict(lr_mult=0.1),
                'adapter': dict(lr_mult=10, decay_mult=0),
            }
        ),
    )
    wrapper = constructor(model)
    groups = {
        (round(group['lr'], 6), group['weight_decay']): {
            wrapper.param_names[id(p)] for p in group['params']
        }
        for group in wrapper.optimizer.param_groups
    }
    adapter = {n for n in names if n.startswith('adapter.')}
    assert groups.pop((1.0, 0.0)) == adapter
    (others,) = groups.values()
    assert others == set(names) - adapter - set(student.base_weights)
    assert 'localization.label_embedding.weight' in others


def test_parts_that_a_base_lacks_may_learn():
    cfg = dict(ADAPTER, train=['segmentation', 'localization/encoder'])
    student = h.build(**{'student.adapter': cfg}).student
    assert 'segmentation/decoder' not in student.base
    assert 'localization/encoder' not in student.base
    assert {'backbone', 'localization/neck'} <= set(student.base)


def test_layers_are_found_by_end_or_by_expression():
    student = h.build(
        **{
            'student.adapter': dict(
                type='LoRA', targets=['qkv', r'stages\.3\..*ffn.*']
            )
        }
    ).student
    names = [key.replace('/', '.') for key in student.adapter.layers]
    assert sum(name.endswith('qkv') for name in names) == 8
    others = [name for name in names if not name.endswith('qkv')]
    assert len(others) == 4
    assert all(name.startswith('stages.3.') for name in others)


def test_a_vit_has_the_same_names():
    vit = h.MODELS.build(
        dict(
            type='mmpretrain.VisionTransformer',
            arch=dict(
                embed_dims=16,
                num_layers=2,
                num_heads=2,
                feedforward_channels=32,
            ),
            img_size=32,
            patch_size=16,
        )
    )
    assert len(LoRA(vit, targets=ALL).layers) == 8


class Inner(nn.Module):
    """Linear layers whose weights are read and that are never called."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.other = nn.Linear(8, 8)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rank=0), 'adapter.rank is 0'),
        (dict(rank='8'), "adapter.rank is '8'"),
        (dict(alpha=0), 'adapter.alpha is 0'),
        (dict(drop_rate=1.0), 'drop_rate is 1, so nothing'),
        (dict(drop_rate=2), 'adapter.drop_rate is 2'),
        (dict(targets='qkv'), "adapter.targets is 'qkv'; it must be a list"),
        (dict(targets=[]), 'targets is empty'),
        (dict(targets=['query']), "'query', which is no linear layer of Fus"),
        (dict(targets=['(']), 'no regular expression'),
        (dict(train=['decoder']), "train names 'decoder', which is no shared"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        h.build(**{'student.adapter': dict(type='LoRA', **options)})


def test_layers_that_are_not_called_are_no_targets():
    with pytest.raises(UserError, match="'out_proj'.*layers end in other"):
        LoRA(Inner(), targets=['out_proj'])


def test_another_scale_is_refused(pair):
    _, model = pair
    weights = model.state_dict()
    other = h.build(**{'student.adapter': dict(ADAPTER, alpha=4)})
    with pytest.raises(UserError, match='alpha / rank = 2, .* has 1'):
        other.load_state_dict(weights)
