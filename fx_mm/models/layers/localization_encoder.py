"""The shared part of the localization branch: norms to encoder."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.layers import (
    DeformableDetrTransformerEncoder,
    SinePositionalEncoding,
)
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fx_mm.models.layers.map_norm import build_map_norm
from fx_mm.ops.deformable_attention import DeformableAttention, grid_centers
from fx_mm.ops.sampling import Shapes
from fx_mm.registry import MODELS


class TaskDeformableEncoder(DeformableDetrTransformerEncoder):
    """mmdet's deformable encoder with :class:`DeformableAttention`.

    Args:
        layer_cfg (dict): Config of a layer. ``self_attn_cfg`` may have a
            ``kernel``, see :class:`DeformableAttention`.
        num_cp (int): Number of layers whose activations are recomputed in
            the backward pass. Defaults to -1: none.
        **kwargs (Any): Further arguments of mmdet's encoder.
    """

    def __init__(
        self, layer_cfg: dict[str, Any], num_cp: int = -1, **kwargs: Any
    ) -> None:
        # mmdet's layer builds mmcv's module of the same dict first.
        attention = dict(layer_cfg['self_attn_cfg'])
        self.kernel = attention.pop('kernel', 'auto')
        layer_cfg = dict(layer_cfg, self_attn_cfg=attention)
        super().__init__(layer_cfg=layer_cfg, **kwargs)
        # mmdet's own way needs another package.
        self.num_cp = num_cp

    def _init_layers(self) -> None:
        super()._init_layers()
        for layer in self.layers:
            layer.self_attn = DeformableAttention(
                kernel=self.kernel, **layer.self_attn_cfg
            )

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        key_padding_mask: Tensor | None,
        shapes: Shapes,
        valid_ratios: Tensor,
        **kwargs: Any,
    ) -> Tensor:
        """Encode the tokens.

        Args:
            query (Tensor): Tokens (B, tokens, dims).
            query_pos (Tensor): Their positions (1 or B, tokens, dims).
            key_padding_mask (Tensor, optional): (B, tokens).
            shapes (list[tuple[int, int]]): Height and width of each level.
            valid_ratios (Tensor): (B, levels, 2).
            **kwargs: Further level sizes.

        Returns:
            Tensor: Memory (B, tokens, dims).
        """
        centers = []
        for level, shape in enumerate(shapes):
            points = grid_centers(shape, query.device)
            centers.append(points / valid_ratios[:, level, None])
        points = torch.cat(centers, dim=1)[:, :, None] * valid_ratios[:, None]
        for index, layer in enumerate(self.layers):
            if index < self.num_cp and torch.is_grad_enabled():
                layer = partial(checkpoint, layer, use_reentrant=False)
            query = layer(
                query=query,
                query_pos=query_pos,
                key_padding_mask=key_padding_mask,
                reference_points=points,
                shapes=shapes,
                **kwargs,
            )
        return query


class PyramidEncoder(BaseModule):
    """Norms, input projections, level embedding and deformable encoder.

    Args:
        neck (dict): Config of the input projections; its ``in_channels``
            are those of the maps.
        encoder (dict): Arguments of :class:`TaskDeformableEncoder`.
        positional_encoding (dict): Arguments of mmdet's
            ``SinePositionalEncoding``.
        norm_cfg (dict, optional): Norm of each map over channels; None for
            none. Defaults to ``dict(type='LN2d')``.
    """

    def __init__(
        self,
        neck: dict[str, Any],
        encoder: dict[str, Any],
        positional_encoding: dict[str, Any],
        norm_cfg: dict[str, Any] | None = dict(type='LN2d'),
    ) -> None:
        super().__init__()
        self.norms = ModuleList(
            build_map_norm(norm_cfg, width) for width in neck['in_channels']
        )
        self.neck = MODELS.build(neck)
        self.level_embed = nn.Parameter(
            torch.zeros(neck['num_outs'], neck['out_channels'])
        )
        self.positional_encoding = SinePositionalEncoding(
            **positional_encoding
        )
        self.encoder = TaskDeformableEncoder(**encoder)

    def init_weights(self) -> None:
        """Initialise the projections and the level embedding."""
        super().init_weights()
        nn.init.normal_(self.level_embed)

    def forward(
        self, maps: Sequence[Tensor], data_samples: list[Any]
    ) -> dict[str, Any]:
        """Encode the backbone maps.

        Args:
            maps (Sequence[Tensor]): Backbone maps (B, C, H, W).
            data_samples (list): Have ``img_shape`` and ``batch_input_shape``.

        Returns:
            dict: ``maps`` (normed), ``memory`` (B, tokens, dims), ``mask``
            (B, tokens), True at padding, or None, and ``layout``: ``shapes``
            of the levels, the same as tensors, and ``valid_ratios``.
        """
        maps = tuple(norm(feature) for norm, feature in zip(self.norms, maps))
        levels = self.neck(maps)
        shapes = [tuple(level.shape[2:]) for level in levels]
        padding = self._padding(data_samples, levels[0].device)
        flat, positions, masks, ratios = [], [], [], []
        for level, (height, width) in enumerate(shapes):
            feature = levels[level]
            mask = None
            if padding is not None:
                mask = F.interpolate(padding, size=(height, width))[:, 0] > 0
                rows, columns = ~mask[:, :, 0], ~mask[:, 0, :]
                ratios.append(
                    torch.stack([columns.sum(1) / width, rows.sum(1) / height])
                )
                masks.append(mask.flatten(1))
            position = self.positional_encoding(mask, input=feature[:1])
            positions.append(
                position.flatten(2).transpose(1, 2) + self.level_embed[level]
            )
            flat.append(feature.flatten(2).transpose(1, 2))
        tokens = torch.cat(flat, dim=1)
        # A copy that blocks would wait for all kernels in flight.
        spatial_shapes = torch.tensor(shapes).to(
            tokens.device, non_blocking=True
        )
        layout = dict(
            shapes=shapes,
            spatial_shapes=spatial_shapes,
            valid_ratios=(
                torch.stack(ratios, dim=-1).permute(1, 2, 0)
                if ratios
                else tokens.new_ones(
                    (tokens.shape[0], len(shapes), 2), dtype=torch.float32
                )
            ),
        )
        mask = torch.cat(masks, dim=1) if masks else None
        memory = self.encoder(
            query=tokens,
            query_pos=torch.cat(positions, dim=1),
            key_padding_mask=mask,
            **layout,
        )
        return dict(maps=maps, memory=memory, mask=mask, layout=layout)

    @staticmethod
    def _padding(
        data_samples: list[Any], device: torch.device
    ) -> Tensor | None:
        """1 at padding pixels (B, 1, H, W), None if there are none."""
        height, width = data_samples[0].batch_input_shape
        shapes = [tuple(sample.img_shape[:2]) for sample in data_samples]
        if all(shape == (height, width) for shape in shapes):
            return None
        padding = torch.ones(len(shapes), 1, height, width, device=device)
        for index, (rows, columns) in enumerate(shapes):
            padding[index, :, :rows, :columns] = 0
        return padding
