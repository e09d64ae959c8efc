"""Backbones of mmdet and mmpretrain with raw multi-stage outputs."""

import torch
from torch import nn

from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError

NUM_STAGES = 4


def build_backbone(cfg: dict) -> nn.Module:
    """Build a backbone whose outputs carry no output norm.

    Segmentation reads the raw block outputs, localization and classification
    bring norms of their own (Foundation X, reference code), so the per-output
    norms ``norm{i}`` of Swin and ConvNeXt become identities.

    Args:
        cfg (dict): Config of a backbone with four output stages, such as
            ``dict(type='mmdet.SwinTransformer', ...)``.

    Returns:
        nn.Module: The backbone.
    """
    backbone = MODELS.build(cfg)
    for stage in range(NUM_STAGES):
        name = f'norm{stage}'
        if isinstance(backbone._modules.get(name), nn.LayerNorm):
            setattr(backbone, name, nn.Identity())
    return backbone


def probe_backbone(
    backbone: nn.Module, size: int = 64
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and strides of the output stages, by one forward on zeros.

    Args:
        backbone (nn.Module): The backbone.
        size (int): Side of the square probe image in pixels, a multiple of
            the largest stride. Defaults to 64.

    Returns:
        tuple: Channels of the stages and their strides in pixels.

    Raises:
        UserError: If the outputs are not four maps.
    """
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, size, size))
    backbone.train(training)
    shapes = [tuple(m.shape) for m in maps]
    if len(shapes) != NUM_STAGES or any(len(s) != 4 for s in shapes):
        raise UserError(
            f'model backbone {type(backbone).__name__} gives outputs of '
            f'shapes {shapes}; set its out_indices so that it gives four '
            'maps (B, C, H, W).'
        )
    channels = tuple(shape[1] for shape in shapes)
    strides = tuple(size // shape[2] for shape in shapes)
    return channels, strides
