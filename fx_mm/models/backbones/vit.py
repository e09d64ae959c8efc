"""Plain vision transformers that give one map."""

from typing import Any

import torch
from mmpretrain.models.backbones import VisionTransformer, ViTEVA02
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fx_mm.models.backbones.patch_masking import HiddenPatches
from fx_mm.models.backbones.vit_rotation import AxialRotation
from fx_mm.registry import MODELS
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError


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

    Raises:
        UserError: If an argument would choose other outputs.
    """

    def __init__(
        self,
        *args: Any,
        num_registers: int = 0,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        for key in ('out_type', 'out_indices'):
            if key in kwargs:
                raise UserError(
                    f'model backbone.vit has {key}, but {type(self).__name__} '
                    'gives the last map alone; leave it out.'
                )
        check_number(
            'model backbone.vit num_registers', num_registers, 0, whole=True
        )
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

    def forward(
        self, x: Tensor, hidden: HiddenPatches | None = None
    ) -> Tensor:
        """Images (B, 3, H, W) to the map (B, C, h, w) of the patches."""
        x, size = self.patch_embed(x)
        if hidden is not None:
            x = hidden.replace(x)
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

    def forward(
        self, x: Tensor, hidden: HiddenPatches | None = None
    ) -> Tensor:
        """Images (B, 3, H, W) to the map (B, C, h, w) of the patches."""
        return PlainViT.forward(self, x, hidden)

    def _run(self, layer: nn.Module, x: Tensor, size: Any) -> Tensor:
        return layer(x, size)
