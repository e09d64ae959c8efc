"""Swin transformers under the names of timm, Microsoft, mmdet, mmpretrain."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.models.backbones.swin import swin_converter
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import brentq
from torch import Tensor

from fx_mm.utils.errors import UserError

TABLE = 'relative_position_bias_table'
INDEX = 'relative_position_index'
REASONS = (
    (r'(.*\.)?attn_mask', 'follows from the size of the image'),
    (rf'.*\.{INDEX}', 'follows from the window'),
    (r'head(_dist)?\..*', 'the classifier of other labels'),
    (r'mask_token|decoder\..*', 'of the masked image modelling'),
)
"""Keys of a Swin that a model has no use for, and why."""
KNOWN = re.compile(r'(patch_embed\.(proj|norm)|layers\.\d+)\..+')
TO_TIMM = (
    ('patch_embed.projection.', 'patch_embed.proj.'),
    ('stages.', 'layers.'),
    ('attn.w_msa.', 'attn.'),
    ('ffn.layers.0.0.', 'mlp.fc1.'),
    ('ffn.layers.1.', 'mlp.fc2.'),
)


def unused_reason(key: str) -> str | None:
    """Return why a model has no use for a weight of a Swin, if so."""
    for pattern, reason in REASONS:
        if re.fullmatch(pattern, key):
            return reason
    return None


def from_timm(weights: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    """Bring a Swin of timm or Microsoft to mmdet's names and order.

    The patch merging of timm and Microsoft puts the four pixels one after
    the other, mmdet's and mmpretrain's puts the four values of a channel
    together. Since version 0.9 timm has it at the beginning of a stage; the
    older form is the one of Microsoft, Ark and Foundation X, at the end.

    Args:
        weights (Mapping[str, Tensor]): ``patch_embed.*`` and ``layers.*``.

    Returns:
        dict[str, tuple]: mmdet's name and the weight, by key of the source.

    Raises:
        UserError: If a weight is not one of a Swin.
    """
    begins = not any(k.startswith('layers.0.downsample.') for k in weights)
    converted = {}
    for key, value in weights.items():
        if not KNOWN.fullmatch(key):
            raise UserError(
                f'The weight "{key}" is not known from a Swin transformer; '
                'the checkpoint is another model.'
            )
        name = key
        if begins and '.downsample.' in key:
            _, stage, rest = key.split('.', 2)
            name = f'layers.{int(stage) - 1}.{rest}'
        ((name, value),) = swin_converter({name: value}).items()
        converted[key] = (name.removeprefix('backbone.'), value)
    return converted


def to_timm(
    weights: Mapping[str, Tensor], at_stage_begin: bool = True
) -> dict[str, Tensor]:
    """Bring a Swin of mmdet to the names and the order of timm.

    The inverse of :func:`from_timm`. Tables that follow from the window are
    left out, as timm does not store them.

    Args:
        weights (Mapping[str, Tensor]): Under mmdet's names.
        at_stage_begin (bool): Whether the patch merging belongs to the stage
            after it, as in timm since version 0.9; else to the one before,
            as in Microsoft's. Defaults to True.
    """
    converted = {}
    for key, value in weights.items():
        if key.endswith(INDEX):
            continue
        name = key
        for ours, theirs in TO_TIMM:
            name = name.replace(ours, theirs, 1)
        if '.downsample.' in key:
            value = _pixel_by_pixel(value)
            if at_stage_begin:
                _, stage, rest = name.split('.', 2)
                name = f'layers.{int(stage) + 1}.{rest}'
        converted[name] = value
    return converted


def _pixel_by_pixel(value: Tensor) -> Tensor:
    """Inverse of mmdet's order, of a weight (..., 4 C) of a patch merging."""
    pixels = value.unflatten(-1, (-1, 4)).transpose(-1, -2)
    return pixels[..., [0, 2, 1, 3], :].flatten(-2).contiguous()


@dataclass(frozen=True)
class SwinShape:
    """Architecture of a Swin, as far as its weights show it.

    Attributes:
        embed_dims (int): Channels of the first stage.
        depths (tuple[int]): Blocks of each stage.
        num_heads (tuple[int]): Attention heads of each stage.
        window_size (int): Side of the window.
    """

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> 'SwinShape | None':
        """Read it from weights under mmdet's names; None of another model."""
        tables: dict[int, list[Tensor]] = {}
        for key, value in weights.items():
            if key.endswith(TABLE):
                tables.setdefault(int(key.split('.')[1]), []).append(value)
        projection = weights.get('patch_embed.projection.weight')
        if projection is None or not tables:
            return None
        stages = [tables[stage] for stage in sorted(tables)]
        return cls(
            len(projection),
            tuple(map(len, stages)),
            tuple(blocks[0].shape[1] for blocks in stages),
            (round(len(stages[0][0]) ** 0.5) + 1) // 2,
        )

    def __str__(self) -> str:
        return (
            f'embed_dims={self.embed_dims}, depths={self.depths}, '
            f'num_heads={self.num_heads}'
        )


def fit_backbone(
    weights: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Fit a Swin to the window and the tables of a model's backbone.

    Args:
        weights (Mapping[str, Tensor]): A Swin under mmdet's names.
        ours (Mapping[str, Tensor]): The backbone's own weights.

    Returns:
        tuple: The weights, and a sentence about what was resized.

    Raises:
        UserError: If the two are of different size.
    """
    theirs, own = SwinShape.of(weights), SwinShape.of(ours)
    if theirs is None or own is None or str(theirs) != str(own):
        raise UserError(
            f'The backbone of the checkpoint is a Swin with {theirs}, but '
            f'that of the config is {"another kind" if own is None else own}; '
            'give the config of the same size.'
        )
    # They follow from the window.
    fitted = {k: v for k, v in ours.items() if k.endswith(INDEX)}
    count = 0
    for key, value in weights.items():
        if key.endswith(TABLE) and len(value) != len(ours[key]):
            value = resize_bias_table(value, own.window_size)
            count += 1
        if not key.endswith(INDEX):
            fitted[key] = value
    note = ''
    if count:
        note = (
            f'{count} tables of relative positions are interpolated from '
            f'window {theirs.window_size} to {own.window_size}.'
        )
    return fitted, note


def resize_bias_table(table: Tensor, window: int) -> Tensor:
    """Interpolate a table of relative positions for another window.

    As BEiT and SimMIM do it: the offsets of the table are taken to lie at
    distances from the centre whose steps grow geometrically, so that the
    outermost one meets that of the new window; in between is a bicubic
    spline. Near the centre, where attention is, little changes.

    Args:
        table (Tensor): Bias of shape ((2 w - 1)², heads).
        window (int): Side of the new window, at least 2.

    Returns:
        Tensor: Bias of shape ((2 * window - 1)², heads).
    """
    side = round(len(table) ** 0.5)
    reach, target = side // 2, window - 1
    distances = _growing_distances(reach, target)
    known = np.concatenate([-distances[::-1], [0.0], distances])
    wanted = np.clip(np.arange(-target, target + 1), known.min(), known.max())
    order = min(3, side - 1)
    planes = [
        RectBivariateSpline(known, known, plane, kx=order, ky=order)(
            wanted, wanted
        )
        for plane in table.double().t().reshape(-1, side, side).numpy()
    ]
    resized = torch.from_numpy(np.stack(planes)).flatten(1).t()
    return resized.to(table.dtype).contiguous()


def _growing_distances(count: int, last: int) -> np.ndarray:
    """Distances from 1 to ``last``, each step longer by the same factor."""
    if min(count, last) == 1:
        return np.linspace(0, last, count + 1)[1:]
    steps = np.arange(count)
    growth = brentq(lambda q: (q**steps).sum() - last, 1e-9, last)
    return np.cumsum(growth**steps)
