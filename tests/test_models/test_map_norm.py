"""Norms over the channels of maps."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models.utils import LayerNorm2d as MMPretrainLayerNorm2d
from torch import nn

from fx_mm.models.layers import LayerNorm2d, build_map_norm
from fx_mm.utils.errors import UserError


def test_values_of_mmpretrain_without_a_copy():
    torch.manual_seed(0)
    stock, x = MMPretrainLayerNorm2d(6), torch.randn(2, 6, 4, 5)
    nn.init.normal_(stock.weight)
    nn.init.normal_(stock.bias)
    ours = LayerNorm2d(6)
    ours.load_state_dict(stock.state_dict())
    assert torch.equal(ours(x), stock(x))
    assert ours(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('scope', ['fx_mm', 'mmdet'])
def test_norms_by_config_in_any_scope(scope):
    with DefaultScope.overwrite_default_scope(scope):
        norm = build_map_norm(dict(type='LN2d', eps=1e-3), 6)
        assert type(norm) is LayerNorm2d and norm.eps == 1e-3
        assert type(build_map_norm(dict(type='BN'), 6)) is nn.BatchNorm2d
        assert type(build_map_norm(None, 6)) is nn.Identity


def test_the_norm_of_tokens_is_refused():
    """It would take a map of as many columns as channels, in silence."""
    with pytest.raises(UserError, match='"LN".*write dict\\(type="LN2d"\\)'):
        build_map_norm(dict(type='LN'), 6)
