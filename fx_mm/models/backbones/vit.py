"""Plain vision transformers with a feature pyramid made of their last map."""

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.models.backbones import VisionTransformer, ViTEVA02
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fx_mm.models.backbones.vit_names import from_foreign
from fx_mm.models.layers import build_map_norm
from fx_mm.registry import MODELS, SCOPE
from fx_mm.utils.errors import UserError

SCALES = (0.25, 0.5, 1.0, 2.0)
"""Strides of the four maps, in patches."""
THETA = 10000.0


@MODELS.register_module()
class PlainViT(VisionTransformer):
    """mmpretrain's vision transformer that gives one map, with registers.

    It takes all arguments of ``mmpretrain.VisionTransformer`` but those that
    choose its outputs, and two more. Images of any size pass: they are padded
    to whole patches, and the position embedding is interpolated (bicubic).
    With ``ffn_type='swiglu_fused'`` in ``layer_cfgs``, DropPath is of the
    attention alone, as in mmpretrain.

    Args:
        num_registers (int): Tokens that belong to no patch and have no
            position (https://arxiv.org/abs/2309.16588). Defaults to 0.
        with_cp (bool): Compute the activations of a layer again in the
            backward pass instead of keeping them. Defaults to False.
    """

    def __init__(
        self,
        *args: Any,
        num_registers: int = 0,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, out_type='featmap', **kwargs)
        self.with_cp = with_cp
        self.registers = None
        if num_registers:
            self.registers = nn.Parameter(
                torch.zeros(1, num_registers, self.embed_dims)
            )

    def init_weights(self) -> None:
        """Initialise as mmpretrain does, and the registers likewise."""
        super().init_weights()
        if self.registers is not None:
            nn.init.trunc_normal_(self.registers, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the map (B, C, h, w) of the patches."""
        x, size = self.patch_embed(x)
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), 1)
        x = x + resize_pos_embed(
            self.pos_embed,
            self.patch_resolution,
            size,
            self.interpolate_mode,
            self.num_extra_tokens,
        )
        if self.registers is not None:
            registers = self.registers.expand(x.shape[0], -1, -1)
            first = self.num_extra_tokens
            x = torch.cat((x[:, :first], registers, x[:, first:]), 1)
        x = self.pre_norm(self.drop_after_pos(x))
        for layer in self.layers:
            if self.with_cp and x.requires_grad:
                x = checkpoint(self._run, layer, x, size, use_reentrant=False)
            else:
                x = self._run(layer, x, size)
        if self.final_norm:
            x = self.ln1(x)
        patches = x[:, -size[0] * size[1] :]
        return patches.transpose(1, 2).unflatten(2, tuple(size))

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> tuple[int, int]:
        """Depth of a parameter, and the number of depths."""
        if param_name == f'{prefix}registers':
            param_name = f'{prefix}cls_token'
        return super().get_layer_depth(param_name, prefix)

    def _run(self, layer: nn.Module, x: Tensor, size: Any) -> Tensor:
        return layer(x)


class AxialRotation(nn.Module):
    """Rotate queries and keys by where their patch is: EVA-02's RoPE.

    Half of a head's channels turn with the row, half with the column, in
    pairs of neighbours. A grid of another size than that of the pretraining
    is squeezed into its range, as EVA-02 is fine-tuned. mmpretrain's
    ``RotaryEmbeddingFast`` has another range and order of frequencies; timm's
    is the one with which EVA-02 and EVA-X were trained.

    Args:
        dims (int): Channels of a head, a multiple of 4.
        grid (tuple[int]): Rows and columns of patches in pretraining.
    """

    def __init__(self, dims: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.dims = dims
        self.grid = grid

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens (B, heads, h * w, dims) of a grid (h, w), rotated."""
        sine, cosine = rotation(
            self.dims, self.grid, (int(size[0]), int(size[1])), x.device
        )
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
        return (x * cosine + turned * sine).type_as(x)


def build_rotation(
    dims: int,
    grid: tuple[int, int],
    size: tuple[int, int],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Sine and cosine (h * w, dims) of each patch's angles.

    Args:
        dims (int): Channels of a head.
        grid (tuple[int]): Rows and columns of the pretraining.
        size (tuple[int]): Rows and columns h, w now.
        device (torch.device): Where they are wanted.
    """
    bands = THETA ** -(torch.arange(0, dims // 2, 2) / (dims // 2))
    rows, columns = (
        torch.arange(now) / now * before
        for now, before in zip(size, grid, strict=True)
    )
    places = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), -1)
    angles = (places[..., None] * bands).flatten(0, 1).flatten(1)
    angles = angles.repeat_interleave(2, 1)
    return angles.sin().to(device), angles.cos().to(device)


@lru_cache(maxsize=16)
def _kept_rotation(*args: Any) -> tuple[Tensor, Tensor]:
    # What is first made under inference_mode must serve training too.
    with torch.inference_mode(False), torch.no_grad():
        return build_rotation(*args)


def rotation(*args: Any) -> tuple[Tensor, Tensor]:
    """:func:`build_rotation`, built once, or inside of a compiled graph."""
    if torch.compiler.is_compiling():
        return build_rotation(*args)
    return _kept_rotation(*args)


@MODELS.register_module()
class RotaryViT(ViTEVA02, PlainViT):
    """EVA-02 as timm has it, that gives one map; EVA-X is of this form.

    mmpretrain's ``ViTEVA02`` with :class:`AxialRotation` and a LayerNorm of
    timm's epsilon. It takes the arguments of both.

    Args:
        rotation_size (int, optional): Patches on the side of an image in
            pretraining. Defaults to None: those of ``img_size``.
    """

    def __init__(
        self,
        *args: Any,
        rotation_size: int | None = None,
        norm_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        norm_cfg = norm_cfg or dict(type='LN', eps=1e-6)
        super().__init__(*args, norm_cfg=norm_cfg, **kwargs)
        if self.registers is not None:
            raise UserError(
                'model backbone.vit RotaryViT has num_registers, which EVA-02 '
                'has not; leave it out.'
            )
        grid = self.patch_resolution
        if rotation_size is not None:
            grid = (rotation_size, rotation_size)
        turn = AxialRotation(self.embed_dims // self.num_heads, tuple(grid))
        self.rope = turn
        for layer in self.layers:
            layer.attn.rope = turn

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the map (B, C, h, w) of the patches."""
        return PlainViT.forward(self, x)

    def _run(self, layer: nn.Module, x: Tensor, size: Any) -> Tensor:
        return layer(x, size)


@MODELS.register_module()
class PyramidViT(BaseModule):
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

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of a quarter, half, one and two patches.

        Args:
            x (Tensor): Images (B, 3, H, W).
        """
        feature = self.vit(x)
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
        """
        found, unused = from_foreign(weights)
        fitted = {
            name: self.fit_position(name, value)
            for name, (value, _) in found.items()
        }
        return fitted | {key: weights[key] for key in unused}

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
