"""Swin under four names: nothing is lost and nothing changes its meaning."""

import importlib.util

import hypothesis.strategies as st
import made_up_weights as m
import pytest
import torch
from hypothesis import given, settings
from mmpretrain.models import SwinTransformer as PretrainSwin
from mmpretrain.models.utils.embed import resize_relative_position_bias_table
from torch.nn.functional import layer_norm

from fx_mm.converters.swin import (
    SwinShape,
    fit_backbone,
    from_timm,
    resize_bias_table,
    to_timm,
    unused_reason,
)
from fx_mm.models.backbones import build_backbone
from fx_mm.utils.errors import UserError

BACKBONE = dict(
    type='FusedSwinTransformer',
    embed_dims=m.TINY.dims,
    depths=m.TINY.depths,
    num_heads=m.TINY.heads,
    window_size=m.TINY.window,
    shift_last_stage=False,
)


@pytest.fixture(scope='module')
def backbone():
    return build_backbone(BACKBONE).eval()


@pytest.mark.parametrize('begins', [False, True])
def test_round_trip_with_timm_is_exact(backbone, begins):
    weights = m.filled(m.swin_stages(m.TINY, begins))
    converted = dict(from_timm(weights).values())
    fitted, note = fit_backbone(converted, backbone.state_dict())
    assert not note
    backbone.load_state_dict(fitted)
    back = to_timm(backbone.state_dict(), at_stage_begin=begins)
    assert set(back) == set(weights)
    for name, value in weights.items():
        assert torch.equal(back[name], value), name


def test_both_places_of_the_patch_merging_mean_the_same():
    old = m.filled(m.swin_stages(m.TINY))
    new = {
        name.replace(f'layers.{i}.down', f'layers.{i + 1}.down'): value
        for name, value in old.items()
        for i in [int(name.split('.')[1]) if 'layers' in name else 0]
    }
    assert set(new) == set(m.swin_stages(m.TINY, begins=True))
    ours, theirs = (dict(from_timm(x).values()) for x in (old, new))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_mmpretrain_needs_no_other_order(backbone):
    weights = m.filled(m.swin_stages(m.TINY))
    fitted, _ = fit_backbone(
        dict(from_timm(weights).values()), backbone.state_dict()
    )
    backbone.load_state_dict(fitted)
    stock = PretrainSwin(
        arch=dict(
            embed_dims=m.TINY.dims,
            depths=list(m.TINY.depths),
            num_heads=list(m.TINY.heads),
        ),
        window_size=m.TINY.window,
        out_indices=(0, 1, 2, 3),
        norm_cfg=None,
    )
    stock.eval()
    stock.load_state_dict(fitted)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(backbone(image), stock(image)):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(
    not importlib.util.find_spec('timm'), reason='timm is not installed'
)
def test_outputs_of_timm(backbone):
    from timm.models.swin_transformer import SwinTransformer

    stock = SwinTransformer(
        img_size=64,
        embed_dim=m.TINY.dims,
        depths=m.TINY.depths,
        num_heads=m.TINY.heads,
        window_size=m.TINY.window,
        num_classes=0,
    ).eval()
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    weights = {
        name: value
        for name, value in stock.state_dict().items()
        if not unused_reason(name) and not name.startswith('norm.')
    }
    fitted, _ = fit_backbone(
        dict(from_timm(weights).values()), backbone.state_dict()
    )
    backbone.load_state_dict(fitted)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours = backbone(image)[-1].permute(0, 2, 3, 1)
        ours = layer_norm(
            ours, ours.shape[-1:], stock.norm.weight, stock.norm.bias
        )
        theirs = stock.forward_features(image)
    if theirs.dim() == 2:  # before 0.9
        ours = ours.mean((1, 2))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    begins = 'layers.0.downsample.norm.weight' not in weights
    back = to_timm(fitted, at_stage_begin=begins)
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_shape_from_weights():
    weights = m.hollow(m.swin_stages(m.SWIN_L_768))
    shape = SwinShape.of(dict(from_timm(weights).values()))
    assert shape == SwinShape(192, (2, 2, 18, 2), (6, 12, 24, 48), 12)
    assert SwinShape.of({'conv1.weight': torch.zeros(1)}) is None


def test_another_size_is_refused(backbone):
    other = m.hollow(m.swin_stages(m.Swin(depths=(2, 2, 6, 2))))
    with pytest.raises(UserError, match=r'depths=\(2, 2, 6, 2\).*same size'):
        fit_backbone(dict(from_timm(other).values()), backbone.state_dict())
    resnet = {'conv1.weight': torch.zeros(1)}
    with pytest.raises(UserError, match='that of the config is another kind'):
        fit_backbone(dict(from_timm(other).values()), resnet)


def test_a_weight_that_no_swin_has_is_refused():
    with pytest.raises(UserError, match='"absolute_pos_embed" is not known'):
        from_timm({'absolute_pos_embed': torch.zeros(1)})


@pytest.mark.parametrize(
    'key, reason',
    [
        ('layers.0.blocks.1.attn_mask', 'size of the image'),
        ('layers.0.blocks.0.attn.relative_position_index', 'the window'),
        ('head.weight', 'other labels'),
        ('head.fc.bias', 'other labels'),
        ('mask_token', 'masked image modelling'),
        ('decoder.0.weight', 'masked image modelling'),
    ],
)
def test_reasons(key, reason):
    assert reason in unused_reason(key)
    assert unused_reason('layers.0.blocks.0.attn.qkv.weight') is None


def smooth(window, peak):
    """A table that falls off from its centre, of 2 heads."""
    line = torch.arange(1 - window, window, dtype=torch.float64)
    plane = peak * torch.exp(-(line[:, None] ** 2 + line**2) / 20)
    return torch.stack([plane.flatten(), -plane.flatten()], 1).float()


@given(
    st.integers(2, 14),
    st.integers(2, 14),
    st.floats(-5, 5, allow_subnormal=False),
)
@settings(max_examples=30, deadline=None)
def test_resized_tables(before, after, value):
    table = torch.full(((2 * before - 1) ** 2, 3), value)
    resized = resize_bias_table(table, after)
    assert resized.shape == ((2 * after - 1) ** 2, 3)
    torch.testing.assert_close(resized, torch.full_like(resized, value))
    peaked = resize_bias_table(smooth(before, 1.0), after)
    side = 2 * after - 1
    plane = peaked[:, 0].view(side, side)
    # symmetric as it was, the centre and the outermost offsets kept
    torch.testing.assert_close(plane, plane.t())
    torch.testing.assert_close(plane, plane.flip(0))
    assert plane[after - 1, after - 1] == pytest.approx(1.0, abs=1e-5)
    corner = smooth(before, 1.0)[0, 0].item()
    assert plane[0, 0].item() == pytest.approx(corner, abs=1e-5)


def test_same_window_is_the_identity():
    table = torch.randn(13**2, 4)
    torch.testing.assert_close(resize_bias_table(table, 7), table)


@pytest.mark.parametrize('windows', [(6, 7), (7, 12), (12, 24)])
def test_tables_as_beit_resizes_them(windows, monkeypatch):
    # mmpretrain's takes a function that scipy 1.14 removed; on a grid it is
    # a bicubic spline.
    import scipy.interpolate

    class Interp2D:
        def __init__(self, x, y, z, kind):
            self.spline = scipy.interpolate.RectBivariateSpline(y, x, z)

        def __call__(self, x, y):
            return self.spline(y, x)

    monkeypatch.setattr(scipy.interpolate, 'interp2d', Interp2D)
    before, after = windows
    table = torch.randn(
        (2 * before - 1) ** 2, 3, generator=torch.Generator().manual_seed(0)
    )
    theirs = resize_relative_position_bias_table(
        2 * before - 1, 2 * after - 1, table, 3
    )
    torch.testing.assert_close(
        resize_bias_table(table, after), theirs, atol=1e-3, rtol=1e-3
    )
