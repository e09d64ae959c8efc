"""Swin against mmdet's; every backbone in training; pretrained weights."""

import copy
import logging
import pickle
import time

import pytest
import torch
from mmdet.models.backbones import SwinTransformer
from mmdet.models.backbones.swin import swin_converter
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from model_helpers import TINY, batch, build
from torch import nn

from fx_mm.engine.optimizers.constructor import MergedOptimWrapperConstructor
from fx_mm.models import build_backbone, probe_backbone
from fx_mm.models.backbones import FusedSwinTransformer, PretrainedWeights
from fx_mm.models.backbones.swin import _kept_mask, shift_mask
from fx_mm.utils.errors import UserError

SWIN = dict(
    embed_dims=8,
    depths=(2, 2, 2, 2),
    num_heads=(1, 2, 2, 4),
    window_size=4,
    drop_path_rate=0.0,
)


def pair(attention='auto', seed=0, **options):
    """mmdet's Swin and ours with the same, noisy weights."""
    torch.manual_seed(seed)
    cfg = {**SWIN, **options}
    stock = SwinTransformer(**cfg)
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    fused = FusedSwinTransformer(attention=attention, **cfg)
    fused.load_state_dict(stock.state_dict(), strict=True)
    stock.train()
    return stock, fused.train()


def run(model, x, seed=0):
    """Maps and gradients of parameters and input for a random cotangent."""
    generator = torch.Generator().manual_seed(seed)
    x = x.clone().requires_grad_()
    maps = model(x)
    torch.autograd.backward(
        maps, [torch.randn(m.shape, generator=generator) for m in maps]
    )
    grads = {name: p.grad for name, p in model.named_parameters()}
    return [m.detach() for m in maps], {**grads, 'x': x.grad}


def assert_same(stock, fused, x, tolerance=1e-5):
    maps, grads = run(stock, x)
    our_maps, our_grads = run(fused, x)
    for a, b in zip(maps, our_maps, strict=True):
        torch.testing.assert_close(b, a, rtol=tolerance, atol=tolerance)
    assert grads.keys() == our_grads.keys()
    for name, grad in grads.items():
        # sums over all positions: relative to the tensor's own size
        error = (our_grads[name] - grad).abs().max()
        assert error <= tolerance * max(1.0, grad.abs().max()), name


@pytest.mark.parametrize('attention', ['stock', 'sdpa'])
@pytest.mark.parametrize(
    ('window', 'size'),
    [(4, (128, 128)), (4, (100, 133)), (7, (100, 133)), (12, (96, 64))],
)
def test_swin_equals_mmdet(window, size, attention):
    stock, fused = pair(attention, window_size=window)
    assert_same(stock, fused, torch.randn(2, 3, *size))


@pytest.mark.parametrize(
    'options',
    [
        dict(with_cp=True),
        dict(qkv_bias=False, qk_scale=0.3),
        dict(patch_norm=False, use_abs_pos_embed=True, pretrain_img_size=64),
        dict(depths=(1, 1, 3, 1)),
    ],
)
def test_swin_equals_mmdet_with_options(options):
    stock, fused = pair(**options)
    assert_same(stock, fused, torch.randn(1, 3, 64, 64))


def test_swin_equals_mmdet_without_gradient_and_with_dropout():
    stock, fused = pair('auto', drop_path_rate=0.3)
    x = torch.randn(2, 3, 64, 64)
    results = []
    for model in (stock, fused):
        torch.manual_seed(3)
        results.append(model(x)[-1])
    assert not torch.equal(results[0], stock(x)[-1])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    stock.eval(), fused.eval()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            for a, b in zip(stock(x), fused(x)):
                torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


def test_attention_dropout_drops():
    for attention in ('stock', 'sdpa'):
        stock, fused = pair(attention, attn_drop_rate=0.5)
        x = torch.randn(1, 3, 64, 64)
        assert not torch.equal(fused(x)[0], fused(x)[0])
        stock.eval(), fused.eval()
        torch.testing.assert_close(
            fused(x)[0], stock(x)[0], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize('attention', ['stock', 'sdpa'])
def test_swin_is_close_to_mmdet_under_autocast(attention):
    stock, fused = pair(attention)
    x = torch.randn(2, 3, 64, 64)
    exact = stock(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        theirs, ours = stock(x), fused(x)
    for reference, a, b in zip(exact, theirs, ours):
        assert a.dtype == b.dtype
        scale = reference.std()
        # as near to the float32 result as mmdet's own bfloat16 is
        theirs_off = (a.float() - reference).abs().mean() / scale
        ours_off = (b.float() - reference).abs().mean() / scale
        assert ours_off <= 1.2 * theirs_off + 1e-3
        assert theirs_off < 0.05


def test_shift_mask_is_mmdets():
    """Against the mask that mmdet builds inside of its forward."""
    stock, _ = pair()
    attn = stock.stages[0].blocks[1].attn
    seen = []
    attn.w_msa.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs['mask']),
        with_kwargs=True,
    )
    for height, width in ((8, 12), (4, 4), (7, 13)):
        attn(torch.randn(1, height * width, 8), (height, width))
        ours = shift_mask(
            height + -height % 4,
            width + -width % 4,
            4,
            2,
            torch.device('cpu'),
            torch.float32,
        )
        assert torch.equal(ours[:, 0], seen[-1])


def test_mask_is_built_once_and_outlasts_inference_mode():
    _, fused = pair('sdpa')
    x = torch.randn(1, 3, 64, 64)
    _kept_mask.cache_clear()
    fused.eval()
    with torch.inference_mode():
        fused(x)
    built = _kept_mask.cache_info().misses
    assert built == 3  # one per padded map size (16, 8, 4), not per block
    fused.train()
    sum(m.sum() for m in fused(x)).backward()
    copy.deepcopy(fused)(x)
    assert _kept_mask.cache_info().misses == built


def test_last_stage_without_shift_is_one_window():
    """Then a map no larger than the window is plain attention."""
    _, shifted = pair(window_size=4)
    plain = FusedSwinTransformer(**SWIN, shift_last_stage=False)
    plain.load_state_dict(shifted.state_dict(), strict=True)
    x = torch.randn(1, 3, 128, 128)
    shifted.eval(), plain.eval()
    ours, theirs = plain(x), shifted(x)
    for a, b in zip(ours[:3], theirs[:3]):
        assert torch.equal(a, b)
    assert not torch.allclose(ours[3], theirs[3], atol=1e-3)
    stock = SwinTransformer(**SWIN)
    stock.load_state_dict(shifted.state_dict())
    stock.stages[3].blocks[1].attn.shift_size = 0
    stock.eval()
    torch.testing.assert_close(ours[3], stock(x)[3], rtol=1e-5, atol=1e-5)


def test_copies_pickles_and_moves_keep_values_and_names():
    stock, fused = pair()
    x = torch.randn(1, 3, 64, 64)
    fused.eval()
    expected = fused(x)
    for twin in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert [*twin.state_dict()] == [*stock.state_dict()]
        for a, b in zip(twin(x), expected):
            assert torch.equal(a, b)
    fused.to(torch.float64)
    for a, b in zip(fused(x.double()), expected):
        assert a.dtype == torch.float64
        torch.testing.assert_close(a.float(), b, rtol=1e-4, atol=1e-4)
    fused.to(torch.float32)
    assert len(pickle.dumps(fused)) < 2 * sum(
        v.numel() * v.element_size() for v in fused.state_dict().values()
    )


def test_unknown_attention_is_refused():
    with pytest.raises(UserError, match='attention'):
        FusedSwinTransformer(**SWIN, attention='flash')


@pytest.mark.slow
def test_compile_in_place_keeps_values_and_names(capsys):
    stock, fused = pair(depths=(1, 1, 2, 1))
    compiled = copy.deepcopy(fused)
    names = [*compiled.state_dict()]
    x = torch.randn(2, 3, 64, 64)
    start = time.perf_counter()
    compiled.compile()
    assert_same(stock, compiled, x, tolerance=1e-4)
    first = time.perf_counter() - start
    assert [*compiled.state_dict()] == names
    times = {}
    for name, model in (('eager', fused), ('compiled', compiled)):
        runs = []
        for _ in range(10):
            start = time.perf_counter()
            run(model, x)
            runs.append(time.perf_counter() - start)
        times[name] = sorted(runs)[5]
    with capsys.disabled():
        ratio = times['compiled'] / times['eager']
        print(f'\ncompile: {first:.0f} s, then {ratio:.2f} of eager time')


# ------------------------------------------------- backbones by config

SMALL_CONVNEXT = dict(
    type='mmpretrain.ConvNeXt',
    arch=dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64]),
    out_indices=(0, 1, 2, 3),
)
SMALL_RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=8)
SMALL_SWIN = dict(type='FusedSwinTransformer', **SWIN)
SMALL = dict(
    swin=SMALL_SWIN,
    swin_window12=dict(SMALL_SWIN, window_size=12),
    stock_swin=dict(SMALL_SWIN, type='mmdet.SwinTransformer'),
    convnext=SMALL_CONVNEXT,
    resnet_mmdet=SMALL_RESNET,
    resnet_mmpretrain=dict(
        type='mmpretrain.ResNet',
        depth=18,
        stem_channels=8,
        base_channels=8,
        out_indices=(0, 1, 2, 3),
    ),
)
FULL = dict(
    swin_t=(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    swin_b=(128, (2, 2, 18, 2), (4, 8, 16, 32), 7),
    swin_b_384=(128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    swin_l_768=(192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
)


@pytest.mark.parametrize('name', FULL)
def test_full_width_swins(name):
    dims, depths, heads, window = FULL[name]
    backbone = build_backbone(
        dict(
            type='FusedSwinTransformer',
            embed_dims=dims,
            depths=tuple(min(depth, 2) for depth in depths),
            num_heads=heads,
            window_size=window,
        )
    )
    channels, strides = probe_backbone(backbone)
    assert channels == (dims, 2 * dims, 4 * dims, 8 * dims)
    assert strides == (4, 8, 16, 32)


@pytest.mark.parametrize(
    ('cfg', 'width'),
    [
        (
            dict(
                type='mmpretrain.ConvNeXt',
                arch='base',
                out_indices=[0, 1, 2, 3],
            ),
            128,
        ),
        (dict(type='mmdet.ResNet', depth=50), 256),
        (
            dict(type='mmpretrain.ResNet', depth=50, out_indices=(0, 1, 2, 3)),
            256,
        ),
    ],
)
def test_full_width_convnext_and_resnet(cfg, width):
    channels, strides = probe_backbone(build_backbone(cfg))
    assert channels == (width, 2 * width, 4 * width, 8 * width)
    assert strides == (4, 8, 16, 32)


def with_backbone(cfg, **options):
    """A tiny MeanTeacher around a backbone."""
    return build(
        tiny=False,
        **{k: v for k, v in TINY.items() if 'backbone' not in k},
        **{'student.backbone': dict(_delete_=True, **cfg)},
        **options,
    )


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('name', SMALL)
@pytest.mark.filterwarnings('ignore:.*use_reentrant')
def test_each_backbone_trains_all_kinds(name, with_cp):
    model = with_backbone(dict(SMALL[name], with_cp=with_cp))
    backbone = model.student.backbone
    for stage in range(4):
        norm = getattr(backbone, f'norm{stage}', None)
        assert name.startswith('resnet') or isinstance(norm, nn.Identity)
    wrapper = MergedOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    )(model)
    reached = set()
    for task in ('a/cls', 'a/loc', 'a/seg'):
        before = copy.deepcopy(backbone.state_dict())
        losses = model.loss(*batch(task))
        assert all(torch.isfinite(v).all() for v in losses.values())
        wrapper.zero_grad()
        sum(v.sum() for k, v in losses.items() if 'loss' in k).backward()
        reached |= {
            n for n, p in backbone.named_parameters() if p.grad is not None
        }
        wrapper.optimizer.step()
        after = backbone.state_dict()
        assert any(not torch.equal(before[k], after[k]) for k in before)
    assert reached == dict(backbone.named_parameters()).keys()


def test_resnet_norm_eval_and_frozen_stages():
    model = with_backbone(SMALL_RESNET)
    bn = model.student.backbone.bn1
    assert not bn.training  # mmdet's default, norm_eval=True
    model = with_backbone(dict(SMALL_RESNET, norm_eval=False))
    assert model.student.backbone.bn1.training
    model.student.lock(['backbone'])
    assert not model.student.backbone.bn1.training
    model = with_backbone(dict(SMALL_RESNET, frozen_stages=1))
    with pytest.raises(UserError, match='frozen'):
        MergedOptimWrapperConstructor(
            dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
        )(model)


# ------------------------------------------------------- pretrained weights


def microsoft_file(path, window=4, **options):
    """A file in the form of Microsoft's 22k release, and mmdet's of it.

    Written from mmdet's names by the inverse of what they changed.
    """
    torch.manual_seed(7)
    source = SwinTransformer(**{**SWIN, **options, 'window_size': window})
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.normal_()
    state = {}
    for name, value in source.state_dict().items():
        if name.startswith('norm'):
            continue
        for ours, theirs in (
            ('stages', 'layers'),
            ('attn.w_msa.', 'attn.'),
            ('ffn.layers.0.0.', 'mlp.fc1.'),
            ('ffn.layers.1.', 'mlp.fc2.'),
            ('patch_embed.projection', 'patch_embed.proj'),
        ):
            name = name.replace(ours, theirs)
        if 'downsample' in name:
            # channels of the four neighbours: (C, kh, kw) to (kw, kh, C)
            shape = (*value.shape[:-1], -1, 2, 2)
            value = value.reshape(shape).movedim(-3, -1)
            value = value.transpose(-3, -2).flatten(-3)
        state[name] = value
    state['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 16, 16)
    state['norm.weight'] = torch.ones(64)
    state['norm.bias'] = torch.zeros(64)
    state['head.weight'] = torch.zeros(21841, 64)
    state['head.bias'] = torch.zeros(21841)
    torch.save({'model': state}, path)
    return source


class Messages:
    """What is logged inside of a ``with``."""

    def __enter__(self):
        self.records = []
        self.handler = logging.Handler()
        self.handler.emit = self.records.append
        self.logger = MMLogger.get_instance('backbones')
        MMLogger._instance_dict.move_to_end('backbones')
        self.logger.addHandler(self.handler)
        return self

    def __exit__(self, *args):
        self.logger.removeHandler(self.handler)

    def text(self, level=logging.INFO):
        return ' '.join(
            r.getMessage()
            for r in self.records
            if r.levelno >= level and 'weights loaded' in r.getMessage()
        )


def pretrained(path, **options):
    return dict(type='Pretrained', checkpoint=str(path), **options)


def assert_loaded(backbone, source):
    for name, value in backbone.state_dict().items():
        if not name.endswith('num_batches_tracked'):
            assert torch.equal(value, source[name]), name


def test_microsoft_swin_through_mean_teacher(tmp_path):
    source = microsoft_file(tmp_path / 'swin.pth')
    cfg = dict(
        SMALL_SWIN,
        convert_weights=True,
        init_cfg=pretrained(tmp_path / 'swin.pth'),
    )
    with Messages() as messages:
        model = with_backbone(cfg)
    for part in (model.student, model.teacher):
        assert_loaded(part.backbone, source.state_dict())
    # Swin's output norms are not in the file and not in the backbone
    assert 'of another shape: none' in messages.text()
    assert 'not used: norm.weight, norm.bias' in messages.text()
    assert not messages.text(logging.WARNING)


def test_swin_of_a_newer_timm_loads_whole(tmp_path):
    path = tmp_path / 'swin.pth'
    source = microsoft_file(path)
    # since version 0.9 a stage begins with the patch merging
    moved = {}
    for name, value in torch.load(path)['model'].items():
        if '.downsample.' in name:
            _, stage, rest = name.split('.', 2)
            name = f'layers.{int(stage) + 1}.{rest}'
        moved[name] = value
    torch.save(moved, path)
    backbone = build_backbone(
        dict(SMALL_SWIN, convert_weights=True, init_cfg=pretrained(path))
    )
    with Messages() as messages:
        backbone.init_weights()
    assert_loaded(backbone, source.state_dict())
    assert not messages.text(logging.WARNING)


def test_microsoft_swin_of_another_window_is_what_mmdet_makes_of_it(tmp_path):
    path = tmp_path / 'swin.pth'
    microsoft_file(path, window=4)
    fused = FusedSwinTransformer(
        **{**SWIN, 'window_size': 7},
        convert_weights=True,
        init_cfg=pretrained(path),
    )
    fused.init_weights()
    # mmdet itself fails on the index of another window, so without those
    state = torch.load(path)['model']
    state = {k: v for k, v in state.items() if 'position_index' not in k}
    torch.save({'model': state}, path)
    stock = SwinTransformer(
        **{**SWIN, 'window_size': 7},
        convert_weights=True,
        init_cfg=copy.copy(fused.init_cfg),
    )
    stock.init_cfg = type('Cfg', (dict,), {'checkpoint': str(path)})(
        stock.init_cfg
    )
    stock.init_weights()
    for name, value in stock.state_dict().items():
        assert torch.equal(fused.state_dict()[name], value), name


def test_microsoft_file_is_the_inverse_of_mmdets_converter(tmp_path):
    source = microsoft_file(tmp_path / 'swin.pth').state_dict()
    converted = swin_converter(torch.load(tmp_path / 'swin.pth')['model'])
    for name, value in source.items():
        if not name.startswith('norm'):
            assert torch.equal(converted[f'backbone.{name}'], value), name


def test_microsoft_file_without_convert_weights_is_refused(tmp_path):
    microsoft_file(tmp_path / 'swin.pth')
    backbone = build_backbone(
        dict(SMALL_SWIN, init_cfg=pretrained(tmp_path / 'swin.pth'))
    )
    with pytest.raises(UserError, match='convert_weights=True'):
        backbone.init_weights()


@pytest.mark.parametrize(
    'kind', ['convnext', 'resnet_mmdet', 'resnet_mmpretrain']
)
@pytest.mark.parametrize('scope', ['fx_mm', 'mmdet', None])
def test_other_backbones_load(tmp_path, kind, scope):
    torch.manual_seed(7)
    source = build_backbone(SMALL[kind])
    with torch.no_grad():
        for value in source.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 1)
    state = source.state_dict()
    if kind == 'convnext':
        state = {f'backbone.{k}': v for k, v in state.items()}
        state['backbone.norm3.weight'] = torch.ones(64)
        state['head.fc.weight'] = torch.zeros(1000, 64)
        saved = {'state_dict': state, 'meta': {}}
    else:
        saved = dict(state, **{'fc.weight': torch.zeros(1000, 64)})
        if scope is None:  # as torchvision's older files
            saved = {k: v for k, v in saved.items() if 'batches' not in k}
    torch.save(saved, tmp_path / 'x.pth')
    cfg = dict(SMALL[kind], init_cfg=pretrained(tmp_path / 'x.pth'))
    # an initializer list as in mmpretrain's configs works as well
    if kind == 'resnet_mmpretrain':
        cfg['init_cfg'] = [
            dict(type='Kaiming', layer=['Conv2d']),
            cfg['init_cfg'],
        ]
        cfg['zero_init_residual'] = False
    backbone = build_backbone(cfg)
    context = (
        DefaultScope.overwrite_default_scope(scope)
        if scope
        else torch.enable_grad()
    )
    with Messages() as messages, context:
        backbone.init_weights()
    assert_loaded(backbone, source.state_dict())
    assert 'of another shape: none' in messages.text()
    assert 'fc.weight' in messages.text()


def test_what_does_not_fit_is_said_or_refused(tmp_path):
    path = tmp_path / 'x.pth'
    source = build_backbone(SMALL_SWIN)
    state = source.state_dict()
    lost = 'stages.1.blocks.0.norm1.weight'
    state.pop(lost)
    state['patch_embed.projection.weight'] = torch.zeros(8, 1, 4, 4)
    torch.save(state, path)
    backbone = build_backbone(dict(SMALL_SWIN, init_cfg=pretrained(path)))
    with Messages() as messages:
        backbone.init_weights()
    warning = messages.text(logging.WARNING)
    assert lost in warning and 'patch_embed.projection.weight' in warning

    for cfg in (dict(SMALL_SWIN, embed_dims=16), SMALL_RESNET):
        backbone = build_backbone(dict(cfg, init_cfg=pretrained(path)))
        with pytest.raises(UserError, match='same architecture'):
            backbone.init_weights()
    torch.save({'epoch': 3}, path)
    with pytest.raises(UserError, match='no weights'):
        backbone.init_weights()
    path.unlink()
    with pytest.raises(UserError, match='does not exist'):
        backbone.init_weights()


class Evil:
    def __reduce__(self):
        return (print, ('executed',))


def test_a_file_cannot_run_code(tmp_path, capsys):
    path = tmp_path / 'x.pth'
    state = build_backbone(SMALL_RESNET).state_dict()
    torch.save({'state_dict': state, 'evil': Evil()}, path)
    for cfg in (SMALL_RESNET, SMALL_SWIN, SMALL_CONVNEXT):
        backbone = build_backbone(dict(cfg, init_cfg=pretrained(path)))
        with pytest.raises(
            UserError, match='could run code.*trust=True in init_cfg'
        ):
            backbone.init_weights()
    assert 'executed' not in capsys.readouterr().out
    trusted = pretrained(path, trust=True)
    backbone = build_backbone(dict(SMALL_RESNET, init_cfg=trusted))
    backbone.init_weights()
    assert_loaded(backbone, state)


def test_silent_ways_of_loading_are_refused(tmp_path):
    for cfg in (
        dict(SMALL_SWIN, pretrained='x.pth'),
        dict(
            SMALL_SWIN,
            type='mmdet.SwinTransformer',
            init_cfg=pretrained('x.pth'),
        ),
    ):
        with pytest.raises(UserError, match='model backbone'):
            build_backbone(cfg)


def test_teacher_of_an_own_checkpoint_and_prefix(tmp_path):
    path = tmp_path / 'iter_1.pth'
    model = with_backbone(SMALL_SWIN)
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(1)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    for options, part in (
        ({}, model.teacher),
        (dict(prefix='student.backbone.'), model.student),
    ):
        backbone = build_backbone(
            dict(SMALL_SWIN, init_cfg=pretrained(path, **options))
        )
        backbone.init_weights()
        assert_loaded(backbone, part.backbone.state_dict())


def test_torchvision_names(monkeypatch):
    asked = []
    backbone = build_backbone(SMALL_RESNET)
    monkeypatch.setattr(
        'fx_mm.models.backbones.pretrained.load_source',
        lambda source, trust: asked.append(source) or backbone.state_dict(),
    )
    PretrainedWeights('torchvision://resnet50')(backbone)
    assert asked[0].startswith('https://') and 'resnet50' in asked[0]
    with pytest.raises(UserError, match='torchvision has no model'):
        PretrainedWeights('torchvision://resnet51')(backbone)
