"""Vision transformers: DINOv2 (RAD-DINO, CheXFound), EVA-02 (EVA-X), timm."""

import re
from collections.abc import Mapping

from torch import Tensor

from fx_mm.converters.converted_weights import ConvertedWeights
from fx_mm.models.backbones import PyramidViT, RotaryViT
from fx_mm.models.backbones.vit_names import EVA02, from_foreign
from fx_mm.models.foundation_x import FoundationX
from fx_mm.utils.errors import UserError

PATCHES = 'vit.patch_embed.projection.weight'
POSITIONS = 'vit.pos_embed'
PYRAMID = 'backbone.pyramid.'


def convert_vit(
    weights: Mapping[str, Tensor], model: FoundationX, family: str
) -> tuple[ConvertedWeights, list[str]]:
    """Map a vision transformer to a model's names.

    Args:
        weights (Mapping[str, Tensor]): Of the source.
        model (FoundationX): Gives names and shapes, and the feature pyramid,
            which no source has; it is not changed.
        family (str): ``'dinov2'``, ``'dinov2_hf'`` or ``'eva02'``.

    Returns:
        tuple[ConvertedWeights, list[str]]: Weights for
        ``model.load_state_dict`` and what is left, and sentences about what
        was not taken as it is.

    Raises:
        UserError: If the architecture is another.
    """
    backbone = model.backbone
    if not isinstance(backbone, PyramidViT):
        raise UserError(
            'The checkpoint is a vision transformer, but the backbone of the '
            f'config is {type(backbone).__name__}; give a config with '
            'PyramidViT, such as '
            'configs/foundation_x/foundation-x_vit-b_518px.py.'
        )
    if (family == EVA02) != isinstance(backbone.vit, RotaryViT):
        right = 'RotaryViT' if family == EVA02 else 'PlainViT'
        raise UserError(
            f'The weights of the checkpoint need backbone.vit of the type '
            f'{right}, but that of the config is '
            f'{type(backbone.vit).__name__}; set its type.'
        )
    wanted = model.state_dict()
    found, unused = from_foreign(weights)
    _check_size({k: v for k, (v, _) in found.items()}, backbone.state_dict())
    result = ConvertedWeights(unused=unused)
    notes = []
    for name, (value, keys) in found.items():
        fitted = backbone.fit_position(name, value)
        if fitted is not value:
            notes.append(
                'the position embedding is interpolated from '
                f'{value.shape[1]} to {fitted.shape[1]} tokens.'
            )
        for key in keys:
            result.put(key, f'backbone.{name}', fitted, wanted)
    for name, value in wanted.items():
        if name.startswith(PYRAMID):
            result.state_dict[name] = value
    notes.append(
        'the feature pyramid of the backbone starts at random: no vision '
        'transformer has one.'
    )
    result.missing = tuple(n for n in wanted if n not in result.state_dict)
    return result, notes


def _check_size(
    theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> None:
    """Refuse another size, with one sentence instead of a list of weights."""
    shapes = [_shape(weights) for weights in (theirs, ours)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f'The checkpoint is a vision transformer of {shapes[0]}, but the '
            f'backbone of the config is one of {shapes[1]}; set '
            'model.student.backbone.vit.'
        )


def _shape(weights: Mapping[str, Tensor]) -> str:
    projection = weights[PATCHES]
    layers = {
        int(match[1])
        for name in weights
        if (match := re.match(r'vit\.layers\.(\d+)\.', name))
    }
    registers = weights.get('vit.registers')
    count = 0 if registers is None else registers.shape[1]
    gates = any('.w12.' in name for name in weights)
    scales = any('.gamma1.' in name for name in weights)
    sides = 'x'.join(map(str, projection.shape[2:]))
    return (
        f'{len(projection)} channels, {len(layers)} layers, patches of '
        f'{sides} px, {count} registers, {"with" if scales else "no"} layer '
        f'scale, {"gated" if gates else "plain"} feed-forward layers'
    )
