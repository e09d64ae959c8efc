"""Backbones of mmdet and mmpretrain with raw multi-stage outputs."""

import copy
from typing import Any

import torch
from mmdet.models.backbones import SwinTransformer
from torch import nn

from fx_mm.models.backbones.swin import FusedSwinTransformer
from fx_mm.registry import MODELS, SCOPE
from fx_mm.utils.errors import UserError

NUM_STAGES = 4


def build_backbone(cfg: dict[str, Any]) -> nn.Module:
    """Build a backbone whose outputs carry no output norm.

    Segmentation reads the raw block outputs, localization and classification
    bring norms of their own (Foundation X, reference code), so the per-output
    norms ``norm{i}`` of Swin and ConvNeXt become identities, and ConvNeXt
    gives maps instead of pooled vectors.

    Weights that ``init_cfg`` names are loaded by ``init_weights``, through
    :class:`PretrainedWeights`.

    Args:
        cfg (dict): Config of a backbone with four output stages, such as
            ``dict(type='FusedSwinTransformer', ...)``.

    Returns:
        nn.Module: The backbone.

    Raises:
        UserError: If the config names weights in a way in which they would
            be loaded in silence or not at all.
    """
    # Also inside of a model of another package, with another default scope.
    cfg = dict(copy.deepcopy(cfg), _scope_=SCOPE)
    if cfg.get('pretrained'):
        raise UserError(
            'model backbone sets "pretrained", which mmdet drops or loads '
            "unchecked; write init_cfg=dict(type='Pretrained', "
            f'checkpoint={cfg["pretrained"]!r}).'
        )
    pretrained = _scope_pretrained(cfg)
    backbone = MODELS.build(cfg)
    if (
        pretrained
        and isinstance(backbone, SwinTransformer)
        and not isinstance(backbone, FusedSwinTransformer)
    ):
        raise UserError(
            'model backbone mmdet.SwinTransformer does not say which '
            "pretrained weights did not fit; use type='FusedSwinTransformer', "
            'which has the same arguments and weights.'
        )
    for stage in range(NUM_STAGES):
        name = f'norm{stage}'
        if isinstance(backbone._modules.get(name), nn.LayerNorm):
            setattr(backbone, name, nn.Identity())
    if getattr(backbone, 'gap_before_final_norm', False):
        backbone.gap_before_final_norm = False
    return backbone


def _scope_pretrained(cfg: dict[str, Any]) -> bool:
    """Let ``Pretrained`` mean fx_mm's; whether there is one."""
    init_cfg = cfg.get('init_cfg') or []
    found = False
    for entry in [init_cfg] if isinstance(init_cfg, dict) else init_cfg:
        if entry.get('type') == 'Pretrained':
            entry['_scope_'] = SCOPE
            found = True
    return found


def probe_backbone(
    backbone: nn.Module, size: int = 64
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Channels and strides of the output stages, by one forward on zeros.

    Strides are the backbone's ``output_strides``, if it has them: of patches
    of 14 px they are no whole numbers.

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
    return channels, getattr(backbone, 'output_strides', strides)
