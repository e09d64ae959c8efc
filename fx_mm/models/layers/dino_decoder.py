"""DINO decoder in the authors' sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.layers import (
    MLP,
    DinoTransformerDecoder,
    coordinate_to_encoding,
    inverse_sigmoid,
)
from torch import Tensor, nn

from fx_mm.ops.deformable_attention import DeformableAttention


class TaskDINODecoder(DinoTransformerDecoder):
    """``mmdet``'s DINO decoder with the position head of the paper.

    A box is encoded with half the width per coordinate, 2 x dims in all, as
    in DINO and its official mmdet port; a maintained fork of mmdet took twice
    that, which no published weights fit.

    Args:
        layer_cfg (dict): Config of a layer. ``dropout`` in its
            ``self_attn_cfg`` is that of the attention and of its output,
            as in ``mmdet``; ``cross_attn_cfg`` may have a ``kernel``, see
            :class:`DeformableAttention`.
        **kwargs (Any): Further arguments of ``mmdet``'s decoder.
    """

    def __init__(self, layer_cfg: dict[str, Any], **kwargs: Any) -> None:
        # mmcv would write it into the default of all later attentions.
        attention = dict(layer_cfg['self_attn_cfg'])
        dropout = attention.pop('dropout', 0.0)
        attention = dict(
            dict(
                attn_drop=dropout,
                dropout_layer=dict(type='Dropout', drop_prob=dropout),
            ),
            **attention,
        )
        # mmdet's layer builds mmcv's module of the same dict first.
        deformable = dict(layer_cfg['cross_attn_cfg'])
        self.kernel = deformable.pop('kernel', 'auto')
        layer_cfg = dict(
            layer_cfg, self_attn_cfg=attention, cross_attn_cfg=deformable
        )
        super().__init__(layer_cfg=layer_cfg, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        for layer in self.layers:
            layer.cross_attn = DeformableAttention(
                kernel=self.kernel, **layer.cross_attn_cfg
            )
        dims = self.embed_dims
        self.ref_point_head = MLP(2 * dims, dims, dims, 2)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        self_attn_mask: Tensor | None,
        reference_points: Tensor,
        valid_ratios: Tensor,
        reg_branches: Sequence[nn.Module],
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Refine the queries and their boxes, layer by layer.

        Args:
            query (Tensor): Content queries (B, Q, dims).
            value (Tensor): Encoder memory (B, tokens, dims).
            key_padding_mask (Tensor, optional): (B, tokens).
            self_attn_mask (Tensor, optional): (Q, Q), True where blocked.
            reference_points (Tensor): Boxes (B, Q, 4), normalised cxcywh.
            valid_ratios (Tensor): (B, levels, 2).
            reg_branches (Sequence[nn.Module]): Box branch of each layer.
            **kwargs: Level sizes, see :class:`DeformableAttention`.

        Returns:
            tuple[Tensor]: Normed states (layers, B, Q, dims) and boxes
            (layers + 1, B, Q, 4), the given ones first. Boxes carry the
            gradient of one layer ("look forward twice").
        """
        ratios = torch.cat([valid_ratios, valid_ratios], dim=-1)[:, None]
        states, references = [], [reference_points]
        for index, layer in enumerate(self.layers):
            boxes = reference_points[:, :, None] * ratios
            encoding = coordinate_to_encoding(
                boxes[:, :, 0], num_feats=self.embed_dims // 2
            )
            query = layer(
                query,
                query_pos=self.ref_point_head(encoding),
                value=value,
                key_padding_mask=key_padding_mask,
                self_attn_mask=self_attn_mask,
                reference_points=boxes,
                **kwargs,
            )
            offsets = reg_branches[index](query)
            refined = offsets + inverse_sigmoid(reference_points, eps=1e-3)
            refined = refined.sigmoid()
            reference_points = refined.detach()
            states.append(self.norm(query))
            references.append(refined)
        return torch.stack(states), torch.stack(references)
