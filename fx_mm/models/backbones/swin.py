"""mmdet's Swin with window attention in fewer steps."""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.backbones.swin import (
    ShiftWindowMSA,
    SwinBlock,
    SwinTransformer,
    swin_converter,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fx_mm.models.backbones.patch_masking import HiddenPatches, PatchMasking
from fx_mm.models.backbones.pretrained import PretrainedWeights
from fx_mm.registry import MODELS
from fx_mm.utils.checks import check_choice
from fx_mm.utils.errors import UserError

ATTENTION = ('auto', 'sdpa', 'stock')
APART = -100.0
"""Added to the score of two tokens that only the cyclic shift brought
together, as in mmdet's and Microsoft's Swin."""


def build_shift_mask(
    height: int,
    width: int,
    window: int,
    shift: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """What a cyclic shift adds to the scores inside of each window.

    Args:
        height (int): Height of the map, a multiple of ``window``.
        width (int): Width of the map, the same.
        window (int): Side of a window.
        shift (int): Shift towards the upper left.
        device (torch.device): Where the mask is wanted.
        dtype (torch.dtype): Its type.

    Returns:
        Tensor: Zeros and -100 of shape (windows, 1, window², window²).
    """
    rows, columns = (
        (torch.arange(size, device=device) >= size - window).long()
        + (torch.arange(size, device=device) >= size - shift)
        for size in (height, width)
    )
    regions = (3 * rows[:, None] + columns).view(
        height // window, window, width // window, window
    )
    regions = regions.transpose(1, 2).reshape(-1, 1, 1, window**2)
    apart = regions != regions.transpose(2, 3)
    mask = torch.zeros(apart.shape, device=device, dtype=dtype)
    return mask.masked_fill(apart, APART)


# One cache for all blocks, the student's and the teacher's: a module that
# held masks would have to keep them out of copies, pickles and moves.
@lru_cache(maxsize=16)
def _kept_mask(*args: Any) -> Tensor:
    # A mask that is first made under inference_mode must serve training too.
    with torch.inference_mode(False), torch.no_grad():
        return build_shift_mask(*args)


def shift_mask(*args: Any) -> Tensor:
    """:func:`build_shift_mask`, built once, or inside of a compiled graph."""
    if torch.compiler.is_compiling():
        return build_shift_mask(*args)
    return _kept_mask(*args)


class FusedShiftWindowMSA(nn.Module):
    """Window attention with one additive mask and few copies.

    Names and values are those of mmdet's ``ShiftWindowMSA``, whose submodules
    it takes over. Windows and heads are cut in one copy of q, k and v and
    joined in one copy of the result; bias and shift mask are added as one
    tensor.

    Args:
        stock (ShiftWindowMSA): The module to take over.
        attention (str): See :class:`FusedSwinTransformer`.
    """

    def __init__(self, stock: ShiftWindowMSA, attention: str) -> None:
        super().__init__()
        self.window_size = stock.window_size
        self.shift_size = stock.shift_size
        self.w_msa = stock.w_msa
        self.drop = stock.drop
        self.attention = attention

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Attend inside of the (shifted) windows.

        Args:
            query (Tensor): Tokens (B, H * W, C).
            hw_shape (tuple[int]): Height and width of the map.

        Returns:
            Tensor: Tokens (B, H * W, C).
        """
        window, shift = self.window_size, self.shift_size
        attn = self.w_msa
        heads = attn.num_heads
        batch, _, dims = query.shape
        height, width = hw_shape
        x = query.view(batch, height, width, dims)
        bottom, right = -height % window, -width % window
        if bottom or right:
            x = F.pad(x, (0, 0, 0, right, 0, bottom))
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        rows = (height + bottom) // window
        columns = (width + right) // window
        qkv = attn.qkv(x).view(
            batch, rows, window, columns, window, 3, heads, dims // heads
        )
        mask = self._bias()
        if shift:
            # With the windows among the heads, one mask per window and head
            # serves all images without being copied for each.
            mask = mask + shift_mask(
                rows * window,
                columns * window,
                window,
                shift,
                mask.device,
                mask.dtype,
            )
            mask = mask.flatten(0, 1)
        q, k, v = (
            qkv.permute(5, 0, 1, 3, 6, 2, 4, 7)
            .reshape(3, -1, len(mask), window**2, dims // heads)
            .unbind(0)
        )
        x = self._attend(q, k, v, mask)
        x = x.view(batch, rows, columns, heads, window, window, -1)
        x = x.permute(0, 1, 4, 2, 5, 3, 6).reshape(
            batch, rows * window, columns * window, dims
        )
        if shift:
            x = x.roll((shift, shift), (1, 2))
        x = x[:, :height, :width].reshape(batch, height * width, dims)
        return self.drop(attn.proj_drop(attn.proj(x)))

    def _bias(self) -> Tensor:
        """Relative position bias (heads, window², window²)."""
        # This order of gather and transpose has the cheapest backward.
        tokens = self.window_size**2
        index = self.w_msa.relative_position_index.view(-1)
        table = self.w_msa.relative_position_bias_table.t()
        return table.index_select(1, index).view(-1, tokens, tokens)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attention of (N, G, T, D) with a mask (G, T, T)."""
        attn = self.w_msa
        if self._use_sdpa(mask):
            return F.scaled_dot_product_attention(
                q,
                k,
                v,
                mask.to(q.dtype),
                attn.attn_drop.p if self.training else 0.0,
                scale=attn.scale,
            )
        shape = q.shape
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        # With beta=0 the first argument is not read: a scaled product in one
        # step.
        scores = torch.baddbmm(
            q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=attn.scale
        )
        scores = scores.view(*shape[:3], -1) + mask
        weights = attn.attn_drop(scores.softmax(-1)).flatten(0, 1)
        return torch.bmm(weights.to(v.dtype), v).view(shape)

    def _use_sdpa(self, mask: Tensor) -> bool:
        if self.attention == 'auto':
            return mask.is_cuda and not mask.requires_grad
        return self.attention == 'sdpa'


class FusedSwinBlock(nn.Module):
    """mmdet's ``SwinBlock`` around :class:`FusedShiftWindowMSA`.

    Args:
        stock (SwinBlock): The block to take over.
        attention (str): See :class:`FusedSwinTransformer`.
    """

    def __init__(self, stock: SwinBlock, attention: str) -> None:
        super().__init__()
        self.with_cp = stock.with_cp
        self.norm1 = stock.norm1
        self.attn = FusedShiftWindowMSA(stock.attn, attention)
        self.norm2 = stock.norm2
        self.ffn = stock.ffn

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Tokens (B, H * W, C) to tokens of the same shape."""
        if self.with_cp and x.requires_grad:
            # The reentrant form, which mmdet takes by default, fails in
            # DistributedDataParallel with find_unused_parameters.
            return checkpoint(self._forward, x, hw_shape, use_reentrant=False)
        return self._forward(x, hw_shape)

    def _forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        x = x + self.attn(self.norm1(x), hw_shape)
        return self.ffn(self.norm2(x), identity=x)


def _merge_at_stage_end(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put patch merging where Microsoft has it.

    timm since version 0.9 names it by the stage after it, mmdet's converter
    knows the stage before it alone.
    """
    if any(name.startswith('layers.0.downsample.') for name in weights):
        return weights
    moved = {}
    for name, value in weights.items():
        if name.startswith('layers.') and '.downsample.' in name:
            _, stage, rest = name.split('.', 2)
            name = f'layers.{int(stage) - 1}.{rest}'
        moved[name] = value
    return moved


@MODELS.register_module()
class FusedSwinTransformer(PatchMasking, SwinTransformer):
    """mmdet's Swin, with the same weights and values in less time.

    Checkpoints of the two are interchangeable. It takes all arguments of
    ``mmdet.SwinTransformer`` and two more.

    ``attention='auto'`` takes ``scaled_dot_product_attention`` on CUDA where
    the bias needs no gradient (teacher, locked backbone, evaluation), where
    1.5 to 2 times the speed was published for a 3D Swin (MONAI pull request
    8977), and explicit products elsewhere: with a gradient for the bias the
    fast kernels may refuse the mask, and on a CPU
    ``tools/analysis_tools/benchmark_attention.py`` found no gain in it.
    Nothing of this was measured on a GPU; run that tool on yours.

    Args:
        shift_last_stage (bool): Shift the windows of the last stage too, as
            mmdet does. timm's, Microsoft's and Ark's Swin do not, where the
            map is not larger than the window; their weights keep their
            meaning with False. Defaults to True.
        attention (str): ``'sdpa'``, ``'stock'`` (explicit products) or
            ``'auto'``. Defaults to ``'auto'``.

    Raises:
        UserError: If ``attention`` is unknown.
    """

    def __init__(
        self,
        *args: Any,
        shift_last_stage: bool = True,
        attention: str = 'auto',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_choice('model backbone attention', attention, ATTENTION)
        for stage in self.stages:
            for index, block in enumerate(stage.blocks):
                stage.blocks[index] = FusedSwinBlock(block, attention)
        if not shift_last_stage:
            for block in self.stages[-1].blocks:
                block.attn.shift_size = 0

    def forward(
        self, images: Tensor, hidden: HiddenPatches | None = None
    ) -> list[Tensor]:
        """Return the maps of the stages in use.

        Args:
            images (Tensor): Images (B, 3, H, W).
            hidden (HiddenPatches, optional): Patches to hide. Defaults to
                None.

        Returns:
            list[Tensor]: Maps (B, C, h, w).
        """
        tokens, shape = self.patch_embed(images)
        if hidden is not None:
            tokens = hidden.replace(tokens)
        if self.use_abs_pos_embed:
            tokens = tokens + self.absolute_pos_embed
        tokens = self.drop_after_pos(tokens)
        maps = []
        for index, stage in enumerate(self.stages):
            tokens, shape, out, out_shape = stage(tokens, shape)
            if index in self.out_indices:
                out = getattr(self, f'norm{index}')(out)
                out = out.view(-1, *out_shape, self.num_features[index])
                maps.append(out.permute(0, 3, 1, 2).contiguous())
        return maps

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; frozen stages stay in eval mode."""
        super().train(mode)
        return self

    def init_weights(self) -> None:
        """Initialise, or load what ``init_cfg`` names.

        Raises:
            UserError: If the file does not fit, see
                :class:`PretrainedWeights`.
        """
        if self.init_cfg is None:
            super().init_weights()
            return
        cfg = dict(self.init_cfg)
        if cfg.pop('type') not in ('Pretrained', PretrainedWeights):
            raise UserError(
                f'model backbone init_cfg is {self.init_cfg}; Swin knows '
                "dict(type='Pretrained', checkpoint=...) alone."
            )
        cfg.pop('_scope_', None)
        PretrainedWeights(**cfg)(self)

    def adapt_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Bring weights of another source or window size into this form.

        Args:
            weights (dict[str, Tensor]): Weights by name, in mmdet's form or,
                with ``convert_weights``, in Microsoft's or timm's.

        Returns:
            dict[str, Tensor]: In mmdet's form, with bias tables resized to
            this window (bicubic, as in mmdet).

        Raises:
            UserError: If they are Microsoft's without ``convert_weights``.
        """
        if any(name.startswith('layers.') for name in weights):
            if not self.convert_weights:
                raise UserError(
                    "The weights have the names of Microsoft's Swin; set "
                    'convert_weights=True in the backbone.'
                )
            weights = {
                name.removeprefix('backbone.'): value
                for name, value in swin_converter(
                    _merge_at_stage_end(weights)
                ).items()
            }
        tables = dict(self.named_parameters())
        adapted = {}
        for name, value in weights.items():
            # Both follow from the window and the image size.
            if name.endswith(('relative_position_index', 'attn_mask')):
                continue
            own = tables.get(name)
            if name.endswith('relative_position_bias_table') and (
                own is not None and len(own) != len(value)
            ):
                value = self._resize_table(value, len(own))
            adapted[name] = value
        return adapted

    @staticmethod
    def _resize_table(table: Tensor, length: int) -> Tensor:
        """Bias table (S², heads) to another window."""
        before, after = round(len(table) ** 0.5), round(length**0.5)
        planes = table.t().reshape(1, -1, before, before)
        planes = F.interpolate(planes, size=(after, after), mode='bicubic')
        return planes.flatten(2)[0].t().contiguous()
