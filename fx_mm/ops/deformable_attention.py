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
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        locations, weights = self.locate(
            query, query_pos, reference_points, spatial_shapes
        )
        with torch.autocast(value.device.type, enabled=False):
            output = sample_levels(
                value, shapes, locations, weights, self.kernel
            )
        return self.dropout(self.output_proj(output)) + identity

    def locate(
        self,
        query: Tensor,
        query_pos: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return where the maps are sampled, and how much each sample counts.

        Args:
            query (Tensor): See :meth:`forward`, as the others.
            query_pos (Tensor, optional): Position of the query.
            reference_points (Tensor): Points or boxes.
            spatial_shapes (Tensor): Level sizes, needed for points.

        Returns:
            tuple[Tensor]: Locations (B, Q, heads, levels, points, 2), x and y
            as shares of the maps, and weights (B, Q, heads,
            levels * points), which add up to 1 in each head.
        """
        if query_pos is not None:
            query = query + query_pos
        offsets = self.sampling_offsets(query).unflatten(
            -1, (self.num_heads, self.num_levels, self.num_points, 2)
        )
        offsets = offsets.float()
        weights = self.attention_weights(query).unflatten(
            -1, (self.num_heads, -1)
        )
        weights = weights.float().softmax(-1)
        points = cast(Tensor, reference_points)[:, :, None, :, None].float()
        with torch.autocast(query.device.type, enabled=False):
            if points.shape[-1] == 2:
                scale = cast(Tensor, spatial_shapes).flip(-1)[:, None]
                return points + offsets / scale, weights
            scale = points[..., 2:] * (0.5 / self.num_points)
            return points[..., :2] + offsets * scale, weights
