"""Norms over the channels of maps."""

from typing import Any

from mmcv.cnn import build_norm_layer
from mmengine.registry import DefaultScope
from mmpretrain.models.utils import LayerNorm2d as MMPretrainLayerNorm2d
from torch import Tensor, nn

from fx_mm.registry import MODELS, SCOPE
from fx_mm.utils.errors import UserError


@MODELS.register_module('LN2d')
class LayerNorm2d(MMPretrainLayerNorm2d):
    """``mmpretrain``'s ``LN2d`` without its copy to contiguous memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a map (B, C, H, W) over its channels."""
        # The values are mmpretrain's to the bit. Its copy costs 8 to 40 % of
        # norm and projection (or pooling), forward and backward on one core
        # at the sizes of the demo and of Swin-B, and the other memory layout
        # changes the last bit of their sums.
        return nn.LayerNorm.forward(self, x.permute(0, 2, 3, 1)).permute(
            0, 3, 1, 2
        )


def build_map_norm(
    norm_cfg: dict[str, Any] | None, channels: int
) -> nn.Module:
    """Build the norm of a map, whatever the default scope is.

    Args:
        norm_cfg (dict, optional): Such as ``dict(type='LN2d')``, ``'BN'`` or
            ``'GN'``; None for none.
        channels (int): Channels of the map.

    Returns:
        nn.Module: Takes and returns maps (B, C, H, W).

    Raises:
        UserError: If the norm is ``LN``, which is for tokens.
    """
    if norm_cfg is None:
        return nn.Identity()
    with DefaultScope.overwrite_default_scope(SCOPE):
        norm = build_norm_layer(norm_cfg, channels)[1]
    if type(norm) is nn.LayerNorm:
        raise UserError(
            'norm_cfg of a map has the type "LN", which would normalise its '
            'columns; write dict(type="LN2d").'
        )
    return norm
