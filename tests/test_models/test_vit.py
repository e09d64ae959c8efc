"""Vision transformers: pyramid, positions, names, rates, locks."""

import pytest
import torch
import torch.nn.functional as F
import vit_peers as peers
from mmengine.registry import DefaultScope
from model_helpers import TINY, batch, build

from fx_mm.engine.optimizers.constructor import MergedOptimWrapperConstructor
from fx_mm.models import build_backbone, probe_backbone
from fx_mm.models.backbones.vit_names import from_foreign, vit_family
from fx_mm.utils.errors import UserError

PLAIN = dict(type='PyramidViT', vit=peers.vit_cfg())
ROTARY = dict(type='PyramidViT', vit=peers.eva_cfg())
EMBEDDINGS = tuple(
    f'backbone.vit.{name}'
    for name in ('pos_embed', 'cls_token', 'registers', 'patch_embed.')
)
FOR_BOXES = peers.vit_cfg(patch_size=16, img_size=64, registers=2)


def backbone(vit=None, seed=0):
    torch.manual_seed(seed)
    made = build_backbone(dict(type='PyramidViT', vit=vit or peers.vit_cfg()))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def images(side, count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, side, side, generator=generator)


def with_vit(vit, **options):
    """A tiny MeanTeacher around a vision transformer."""
    swin = {k: v for k, v in TINY.items() if 'backbone' not in k}
    cfg = dict(_delete_=True, type='PyramidViT', vit=vit)
    return build(tiny=False, **swin, **{'student.backbone': cfg}, **options)


# ------------------------------------------------------------------ the maps


@pytest.mark.parametrize('cfg, patch', [(PLAIN, 14), (ROTARY, 16)])
def test_channels_and_strides(cfg, patch):
    channels, strides = probe_backbone(build_backbone(cfg))
    assert channels == (4, 8, 16, 16)
    assert strides == (patch / 4, patch / 2, patch, 2 * patch)


@pytest.mark.parametrize('vit', [peers.vit_cfg(registers=3), peers.eva_cfg()])
@pytest.mark.parametrize('size', [(13, 5), (56, 56), (70, 141)])
def test_images_of_any_size(vit, size):
    """Sides are padded to whole patches; odd ones lose nothing."""
    model = backbone(vit)
    patch = vit['patch_size']
    maps = model(torch.randn(1, 3, *size))
    rows, columns = (-(-side // patch) for side in size)
    for level, each in enumerate(maps):
        expected = [-(-side * 4 // 2**level) for side in (rows, columns)]
        assert [*each.shape[2:]] == expected
        assert torch.isfinite(each).all()


def test_the_maps_are_one_map_at_four_scales():
    model = backbone()
    x = images(56)
    finest, fine, same, coarse = model(x)
    one = model.vit(x)
    assert torch.equal(same, one)
    assert torch.equal(coarse, F.max_pool2d(one, 2))
    # stride 2, kernel 2: each patch gives four values of its own
    w, b = (getattr(model.pyramid[1], name) for name in ('weight', 'bias'))
    spread = torch.einsum('bchw,cdij->bdhiwj', one, w) + b.view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(fine, spread.flatten(4).flatten(2, 3))
    assert finest.shape[2:] == (16, 16)


def test_positions_of_another_size_are_interpolated():
    model = backbone()
    x = images(84)  # 6 x 6 patches
    wider = build_backbone(dict(PLAIN, vit=peers.vit_cfg(img_size=84))).eval()
    weights = dict(model.state_dict())
    old = weights['vit.pos_embed']
    grid = old[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    grid = F.interpolate(grid, (6, 6), mode='bicubic')
    weights['vit.pos_embed'] = torch.cat(
        (old[:, :1], grid.flatten(2).transpose(1, 2)), 1
    )
    wider.load_state_dict(weights)
    torch.testing.assert_close(model(x)[2], wider(x)[2])
    # the same when weights are loaded
    fitted = wider.fit_position('vit.pos_embed', old)
    torch.testing.assert_close(fitted, weights['vit.pos_embed'])


@pytest.mark.parametrize('vit', [peers.vit_cfg(), peers.eva_cfg()])
def test_recomputed_activations_change_nothing(vit):
    grads = []
    for with_cp in (False, True):
        model = backbone(dict(vit, with_cp=with_cp)).train()
        model(images(56))[0].square().sum().backward()
        named = dict(model.named_parameters())
        # the finest map reaches all but the other maps' own weights
        named = {k: v for k, v in named.items() if 'pyramid.1' not in k}
        grads.append([p.grad for p in named.values()])
    for one, two in zip(*grads, strict=True):
        assert torch.equal(one, two)


def test_what_is_no_vision_transformer_is_refused():
    with pytest.raises(UserError, match='PlainViT or RotaryViT'):
        build_backbone(dict(PLAIN, vit=dict(type='mmdet.ResNet', depth=18)))
    with pytest.raises(UserError, match='num_registers'):
        build_backbone(dict(ROTARY, vit=peers.eva_cfg(num_registers=2)))
    with pytest.raises(UserError, match='out_indices.*the last map alone'):
        build_backbone(dict(PLAIN, vit=peers.vit_cfg(out_indices=(0, 1))))


# -------------------------------------------------------------- others' names


@pytest.mark.parametrize('registers', [0, 4])
@pytest.mark.parametrize('gated', [False, True])
def test_dinov2_and_chexfound(registers, gated):
    shapes = peers.dinov2_shapes(registers=registers, gated=gated)
    weights = peers.made_up(shapes)
    assert vit_family(weights) == ('dinov2', '')
    model = backbone(peers.vit_cfg(gated, registers))
    load(model, weights, ['mask_token'])
    compare(model, peers.dinov2_map(weights, images(56)), images(56))


def load(model, weights, left=()):
    """Load adapted weights; only the pyramid is not in them."""
    adapted = model.adapt_weights(weights)
    missing, unexpected = model.load_state_dict(adapted, strict=False)
    assert all(name.startswith('pyramid.') for name in missing)
    assert unexpected == [*left]


def compare(model, expected, x):
    with torch.no_grad():
        found = model(x)[2].flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_rad_dino_by_hugging_face():
    weights = peers.made_up(peers.dinov2_shapes())
    theirs = peers.hugging_face(weights)
    assert vit_family(theirs) == ('dinov2_hf', '')
    model = backbone()
    load(model, theirs, ['embeddings.mask_token'])
    compare(model, peers.dinov2_map(weights, images(56)), images(56))
    # below a classifier, as transformers saves one
    below = {f'dinov2.{name}': value for name, value in theirs.items()}
    below['classifier.weight'] = torch.zeros(3, 8)
    found, unused = from_foreign(below)
    assert unused == {
        'dinov2.embeddings.mask_token': 'of the masked pretraining',
        'classifier.weight': 'not of the backbone',
    }
    assert found.keys() == from_foreign(theirs)[0].keys()


@pytest.mark.parametrize('own_names', [False, True])
@pytest.mark.parametrize('base', [False, True])
def test_eva_x(base, own_names):
    weights = peers.made_up(peers.eva_shapes(base))
    given = peers.original_eva(weights) if own_names else weights
    assert vit_family(given) == ('eva02', '')
    model = backbone(peers.eva_cfg(base, rotation_size=3))
    left = ['rope.freqs_cos', 'mask_token', 'lm_head.weight', 'lm_head.bias']
    load(model, given, left if own_names else [])
    compare(model, peers.eva_map(weights, images(64), 3), images(64))


def test_a_chunked_teacher_and_timms_registers():
    weights = peers.made_up(peers.dinov2_shapes(registers=4))
    chunked = {
        f'backbone.{name}'.replace('blocks.', 'blocks.1.'): value
        for name, value in weights.items()
    }
    chunked['dino_head.mlp.0.weight'] = torch.zeros(2, 2)
    found, unused = from_foreign(chunked)
    plain, _ = from_foreign(weights)
    assert found.keys() == plain.keys()
    assert unused['dino_head.mlp.0.weight'] == 'not of the backbone'
    # timm: the class has no position of its own
    timm = dict(weights)
    timm['reg_token'] = timm.pop('register_tokens')
    del timm['mask_token']
    timm['pos_embed'] = timm['pos_embed'][:, 1:]
    value, keys = from_foreign(timm)[0]['vit.pos_embed']
    assert keys == ('pos_embed',) and value.shape == (1, 17, peers.DIMS)
    assert not value[:, 0].any()
    assert torch.equal(value[:, 1:], timm['pos_embed'])


def test_other_models_are_not_taken_for_one():
    for names in (
        ['patch_embed.proj.weight', 'layers.0.blocks.0.attn.qkv.weight'],
        ['conv1.weight'],
        ['embeddings.patch_embeddings.projection.weight'],
        [],
    ):
        assert vit_family(names) is None


def test_a_part_that_is_missing_is_not_made_up():
    weights = peers.made_up(peers.eva_shapes(base=True))
    del weights['blocks.0.attn.k_proj.weight']
    found, _ = from_foreign(weights)
    assert 'vit.layers.0.attn.qkv.weight' not in found
    assert 'vit.layers.1.attn.qkv.weight' in found
    assert not found['vit.layers.1.attn.qkv.bias'][0][16:32].any()


# --------------------------------------------------- training, locks, rates


@pytest.mark.parametrize('vit', [FOR_BOXES, peers.eva_cfg()])
def test_it_trains_all_kinds_and_is_locked(vit):
    model = with_vit(vit)
    student = model.student
    reached = set()
    for task in ('a/cls', 'a/loc', 'a/seg'):
        model.zero_grad()
        losses = model.loss(*batch(task))
        assert all(torch.isfinite(v).all() for v in losses.values())
        sum(v.sum() for k, v in losses.items() if 'loss' in k).backward()
        reached |= {
            name
            for name, p in student.backbone.named_parameters()
            if p.grad is not None and p.grad.abs().sum() > 0
        }
    everything = {n for n, _ in student.backbone.named_parameters()}
    assert reached == everything
    student.lock(student.freeze_plan('a/loc', 'lock'))
    assert not any(p.requires_grad for p in student.backbone.parameters())
    assert not student.backbone.vit.training
    student.lock(())
    assert all(p.requires_grad for p in student.backbone.parameters())


@pytest.mark.parametrize('vit', [FOR_BOXES, peers.eva_cfg()])
def test_adapters_attach_to_it(vit):
    low_rank = with_vit(vit, **{'student.adapter': dict(type='LoRA', rank=2)})
    # qkv and proj of each layer
    assert len(low_rank.student.adapter.layers) == 2 * peers.LAYERS
    norms = with_vit(vit, **{'student.adapter': dict(type='KindNorms')})
    for model in (low_rank, norms):
        losses = model.loss(*batch('a/cls'))
        losses['loss_cls'].sum().backward()
        grads = [p.grad for p in model.student.adapter.parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in grads)


def rates(model, **paramwise):
    """Learning rate of each parameter of the student, by name."""
    cfg = dict(type='MultiTaskOptimWrapper', optimizer=dict(type='SGD', lr=1))
    with DefaultScope.overwrite_default_scope('fx_mm'):
        wrapper = MergedOptimWrapperConstructor(cfg, paramwise)(model)
    names = {id(p): name for name, p in model.student.named_parameters()}
    found = {
        names[id(p)]: group['lr']
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }
    assert found.keys() == set(names.values())
    return found, wrapper


def test_rates_fall_from_layer_to_layer():
    model = with_vit(FOR_BOXES)
    found, wrapper = rates(model, layer_decay_rate=0.5)
    for name, rate in found.items():
        expected = 1.0
        if name.startswith('backbone.vit.layers.'):
            depth = int(name.split('.')[3]) + 1
            expected = 0.5 ** (peers.LAYERS + 1 - depth)
        elif name.startswith(EMBEDDINGS):
            expected = 0.5 ** (peers.LAYERS + 1)
        assert rate == pytest.approx(expected), name
    assert wrapper.applied_rates()['lr/depth_1'] == 0.25
    assert set(wrapper.rate_names) == {'', 'depth_0', 'depth_1', 'depth_2'}


def test_rates_multiply_and_need_a_depth():
    model = with_vit(FOR_BOXES)
    patterns = {'backbone': dict(lr_mult=0.1)}
    found, _ = rates(model, layer_decay_rate=0.5, custom_keys=patterns)
    assert found['backbone.vit.layers.1.ln1.bias'] == pytest.approx(0.05)
    assert found['backbone.pyramid.1.weight'] == pytest.approx(0.1)
    for wrong in (0, 1.5):
        with pytest.raises(UserError, match='above 0 and at most 1'):
            rates(model, layer_decay_rate=wrong)
    with pytest.raises(UserError, match='layer_decay_rate is for backbones'):
        rates(build(), layer_decay_rate=0.9)
    # 1 is no decay, for any backbone
    assert set(rates(build(), layer_decay_rate=1.0)[0].values()) == {1.0}
