"""ViTDet's simple feature pyramid over a plain vision transformer."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModule
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from fx_mm.models.backbones.patch_masking import HiddenPatches, PatchMasking
from fx_mm.models.backbones.vit import PlainViT, RotaryViT
from fx_mm.models.backbones.vit_names import (
    EVA02,
    Found,
    describe,
    from_foreign,
    vit_family,
)
from fx_mm.models.layers import build_map_norm
from fx_mm.registry import MODELS, SCOPE
from fx_mm.utils.errors import UserError

SCALES = (0.25, 0.5, 1.0, 2.0)
"""Strides of the four maps, in patches."""


@MODELS.register_module()
class PyramidViT(PatchMasking, BaseModule):
    """A vision transformer with ViTDet's simple feature pyramid.

    ViTDet (https://arxiv.org/abs/2203.16527), section 3: the last map alone
    gives maps of a quarter, half, one and two patches, by transposed
    convolutions and a max pooling; 4, 8, 16 and 32 px at a patch of 16 px.
    The branches' own norms and necks follow, where ViTDet has its output
    convolutions. Attention is global in every layer.

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes weights under
    the names of DINOv2, of its Hugging Face form, of EVA-02, of timm and of
    this class, with a position embedding of any size.

    Args:
        vit (dict): Config of :class:`PlainViT` or :class:`RotaryViT`.
        init_cfg (dict, optional): Weights to start from. Defaults to None.

    Raises:
        UserError: If ``vit`` is of another type.
    """

    def __init__(
        self, vit: dict[str, Any], init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        cfg = dict(copy.deepcopy(vit), _scope_=SCOPE)
        cfg.setdefault('type', 'PlainViT')
        self.vit = MODELS.build(cfg)
        if not isinstance(self.vit, PlainViT):
            raise UserError(
                f'model backbone.vit is {type(self.vit).__name__}, which does '
                'not give one map; use PlainViT or RotaryViT.'
            )
        dims = self.vit.embed_dims
        self.pyramid = nn.ModuleList(
            (
                nn.Sequential(
                    nn.ConvTranspose2d(dims, dims // 2, 2, 2),
                    build_map_norm(dict(type='LN2d'), dims // 2),
                    nn.GELU(),
                    nn.ConvTranspose2d(dims // 2, dims // 4, 2, 2),
                ),
                nn.ConvTranspose2d(dims, dims // 2, 2, 2),
                nn.Identity(),
                # an odd side keeps its last row
                nn.MaxPool2d(2, 2, ceil_mode=True),
            )
        )

    @property
    def output_strides(self) -> tuple[float, ...]:
        """tuple[float]: Strides of the maps in pixels."""
        patch = self.vit.patch_embed.projection.stride[0]
        return tuple(patch * scale for scale in SCALES)

    @property
    def embedding(self) -> Any:
        """The embedding of patches."""
        return self.vit.patch_embed

    def forward(
        self, x: Tensor, hidden: HiddenPatches | None = None
    ) -> tuple[Tensor, ...]:
        """Maps of a quarter, half, one and two patches.

        Args:
            x (Tensor): Images (B, 3, H, W).
            hidden (HiddenPatches, optional): Patches to hide. Defaults to
                None.
        """
        feature = self.vit(x, hidden)
        return tuple(step(feature) for step in self.pyramid)

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> tuple[int, int]:
        """Depth of a parameter, and the number of depths.

        As mmpretrain's backbones say it: embeddings are 0, what follows the
        layers is the last.
        """
        return self.vit.get_layer_depth(param_name, f'{prefix}vit.')

    def adapt_weights(
        self, weights: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Bring weights of another source into this form.

        Args:
            weights (Mapping[str, Tensor]): Weights by name.

        Returns:
            dict[str, Tensor]: Under this class's names, with the position
            embedding interpolated to this model's grid; names that are
            not known stay.

        Raises:
            UserError: If they are of another architecture.
        """
        found, unused = self.find_weights(weights)
        fitted = {
            name: self.fit_position(name, value)
            for name, (value, _) in found.items()
        }
        return fitted | {key: weights[key] for key in unused}

    def find_weights(
        self, weights: Mapping[str, Tensor]
    ) -> tuple[Found, dict[str, str]]:
        """Find this architecture in weights of another source.

        Args:
            weights (Mapping[str, Tensor]): Weights by name.

        Returns:
            tuple: See :func:`from_foreign`.

        Raises:
            UserError: If they are of another architecture.
        """
        found, unused = from_foreign(weights)
        family = vit_family(weights)
        if family is None:
            return found, unused
        right = 'RotaryViT' if family[0] == EVA02 else 'PlainViT'
        if isinstance(self.vit, RotaryViT) != (right == 'RotaryViT'):
            raise UserError(
                f'These weights need model backbone.vit of the type {right}, '
                f'but that of the config is {type(self.vit).__name__}; set '
                'its type.'
            )
        theirs = describe({name: value for name, (value, _) in found.items()})
        ours = describe(self.state_dict())
        if theirs != ours:
            raise UserError(
                f'These weights are of a vision transformer with {theirs}, '
                f'but model backbone.vit has {ours}; change the config.'
            )
        return found, unused

    def fit_position(self, name: str, value: Tensor) -> Tensor:
        """Return a weight, a position embedding for this model's grid."""
        extra = self.vit.num_extra_tokens
        own = self.vit.pos_embed
        if name != 'vit.pos_embed' or value.shape == own.shape:
            return value
        side = round((value.shape[1] - extra) ** 0.5)
        if side * side + extra != value.shape[1]:
            return value
        return resize_pos_embed(
            value,
            (side, side),
            self.vit.patch_resolution,
            self.vit.interpolate_mode,
            extra,
        )
