"""Vision transformers: DINOv2 (RAD-DINO, CheXFound), EVA-02 (EVA-X), timm."""

from collections.abc import Mapping

from torch import Tensor

from fx_mm.converters.converted_weights import ConvertedWeights
from fx_mm.models.backbones import PyramidViT
from fx_mm.models.foundation_x import FoundationX
from fx_mm.utils.errors import UserError

PYRAMID = 'backbone.pyramid.'


def convert_vit(
    weights: Mapping[str, Tensor], model: FoundationX
) -> tuple[ConvertedWeights, list[str]]:
    """Map a vision transformer to a model's names.

    Args:
        weights (Mapping[str, Tensor]): Of the source.
        model (FoundationX): Gives names and shapes, and the feature pyramid,
            which no source has; it is not changed.

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
    wanted = model.state_dict()
    found, unused = backbone.find_weights(weights)
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
