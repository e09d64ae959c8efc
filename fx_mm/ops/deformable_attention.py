"""Deformable attention that knows the level sizes as Python numbers."""

from typing import Any, cast

import torch
from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor

from fx_mm.ops.sampling import KERNELS, Shapes, sample_levels
from fx_mm.utils.checks import check_choice


def grid_centers(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Relative x, y of the cells of a map, row by row.

    Args:
        shape (tuple[int, int]): Height and width.
        device (torch.device): Where to build them.

    Returns:
        Tensor: (1, height * width, 2), in 0..1.
    """
    height, width = shape
    ys, xs = torch.meshgrid(
        (torch.arange(height, device=device) + 0.5) / height,
        (torch.arange(width, device=device) + 0.5) / width,
        indexing='ij',
    )
    return torch.stack([xs, ys], dim=-1).view(1, -1, 2)


class DeformableAttention(MultiScaleDeformableAttention):
    """``mmcv.MultiScaleDeformableAttention`` for batch-first inputs.

    Same weights and values. The level sizes come as Python numbers, so
    nothing waits for the device, and locations and weights are in float32
    under autocast, where locations in bfloat16 would be off by whole pixels.

    Args:
        *args (Any): Arguments of mmcv's module.
        kernel (str): See :func:`fx_mm.ops.sampling.sample_levels`. Defaults
            to ``'auto'``.
        **kwargs (Any): Further arguments of mmcv's module.

    Raises:
        UserError: If the kernel is unknown.
    """

    def __init__(
        self, *args: Any, kernel: str = 'auto', **kwargs: Any
    ) -> None:
        check_choice('kernel', kernel, KERNELS)
        super().__init__(*args, **kwargs)
        self.kernel = kernel

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        shapes: Shapes = (),
        spatial_shapes: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Attend to sampled points of the levels.

        Args:
            query (Tensor): (B, Q, dims).
            key (Tensor, optional): Not used.
            value (Tensor, optional): (B, tokens, dims); the query if None.
            identity (Tensor, optional): Added to the result; the query
                (without position) if None.
            query_pos (Tensor, optional): Position of the query.
            key_padding_mask (Tensor, optional): (B, tokens), True at padding.
            reference_points (Tensor): (B, Q, levels, 2) points or
                (B, Q, levels, 4) cxcywh boxes, relative to the image.
            shapes (list[tuple[int, int]]): Height and width of each level.
            spatial_shapes (Tensor): The same on the device.
            **kwargs: Not used; mmdet's layers hand on all they get.

        Returns:
            Tensor: (B, Q, dims).
        """
        identity = query if identity is None else identity
        value = query if value is None else value
        if query_pos is not None:
            query = query + query_pos
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        offsets = self.sampling_offsets(query).unflatten(
            -1, (self.num_heads, self.num_levels, self.num_points, 2)
        )
        weights = self.attention_weights(query).unflatten(
            -1, (self.num_heads, -1)
        )
        output = self._sample(
            value,
            offsets.float(),
            weights.float().softmax(-1),
            cast(Tensor, reference_points)[:, :, None, :, None].float(),
            shapes,
            spatial_shapes,
        )
        return self.dropout(self.output_proj(output)) + identity

    def _sample(
        self,
        value: Tensor,
        offsets: Tensor,
        weights: Tensor,
        points: Tensor,
        shapes: Shapes,
        sizes: Tensor | None,
    ) -> Tensor:
        with torch.autocast(value.device.type, enabled=False):
            if points.shape[-1] == 2:
                scale = cast(Tensor, sizes).flip(-1)[:, None]
                locations = points + offsets / scale
            else:
                scale = points[..., 2:] * (0.5 / self.num_points)
                locations = points[..., :2] + offsets * scale
            return sample_levels(
                value, shapes, locations, weights, self.kernel
            )
