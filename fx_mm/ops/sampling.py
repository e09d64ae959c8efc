"""Sampling of multi-scale deformable attention, by one of three kernels."""

import os
from collections.abc import Sequence
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from mmcv.ops import get_compiling_cuda_version
from torch import Tensor

from fx_mm.ops.triton_sampling import triton_sample_levels
from fx_mm.utils.checks import check_choice
from fx_mm.utils.errors import UserError

Shapes = Sequence[tuple[int, int]]

KERNELS = ('auto', 'triton', 'mmcv', 'grid_sample')
_TRITON = find_spec('triton') is not None
_INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
_MMCV = get_compiling_cuda_version() != 'not available'


def available_kernels(device: torch.device) -> tuple[str, ...]:
    """What runs on a device, the preferred kernel first.

    mmcv's sums gradients in any order, so it is not there with
    ``torch.use_deterministic_algorithms(True)``. On a CPU, Triton's
    interpreter (``TRITON_INTERPRET=1`` from the start) is for tests.
    """
    cuda = device.type == 'cuda'
    triton = ('triton',) if _TRITON and (cuda or _INTERPRETED) else ()
    if not cuda:
        return ('grid_sample', *triton)
    any_order = not torch.are_deterministic_algorithms_enabled()
    mmcv = ('mmcv',) if _MMCV and any_order else ()
    return (*triton, *mmcv, 'grid_sample')


def sample_levels(
    value: Tensor,
    shapes: Shapes,
    locations: Tensor,
    weights: Tensor,
    kernel: str = 'auto',
) -> Tensor:
    """Weighted bilinear samples of all levels, zero outside of the map.

    Locations, weights and sums are in float32 (float64 with such values);
    only Triton's kernel also reads values in bfloat16 and float16 as they
    are, which halves the bytes.

    Args:
        value (Tensor): (B, tokens, heads, dims).
        shapes (list[tuple[int, int]]): Height and width of each level.
        locations (Tensor): Relative x, y in 0..1, (B, Q, heads, levels,
            points, 2).
        weights (Tensor): (B, Q, heads, levels, points), or levels and points
            in one.
        kernel (str): ``'triton'``, ``'mmcv'``, ``'grid_sample'``, or
            ``'auto'``: the first of them that runs on the device. Defaults to
            ``'auto'``.

    Returns:
        Tensor: (B, Q, heads * dims), in the type of ``value``.

    Raises:
        UserError: If the kernel is unknown or does not run here.
    """
    check_choice('kernel', kernel, KERNELS)
    available = available_kernels(value.device)
    if kernel == 'auto':
        kernel = available[0]
    if kernel not in available:
        raise UserError(
            f'The kernel "{kernel}" of deformable attention does not run on '
            f'{value.device} here; take {" or ".join(available)}, or "auto".'
        )
    precise = torch.promote_types(value.dtype, torch.float32)
    locations = locations.to(precise)
    weights = weights.to(precise).reshape(locations.shape[:-1])
    if kernel == 'triton':
        sizes = [size for shape in shapes for size in shape]
        return triton_sample_levels(value, sizes, locations, weights)
    sample = _by_mmcv if kernel == 'mmcv' else _by_grid_sample
    output = sample(value.to(precise), shapes, locations, weights)
    return output.to(value.dtype)


def _by_grid_sample(
    value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor
) -> Tensor:
    batch, queries, heads, levels, points, _ = locations.shape
    dims = value.shape[-1]
    value = value.permute(0, 2, 3, 1).flatten(0, 1)
    grids = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5)
    grids = grids.reshape(levels, batch * heads, queries, points, 2)
    maps = value.split([h * w for h, w in shapes], dim=-1)
    samples = [
        F.grid_sample(
            each.unflatten(-1, shape),
            grid,
            mode='bilinear',
            padding_mode='zeros',
            align_corners=False,
        )
        for each, shape, grid in zip(maps, shapes, grids)
    ]
    weights = weights.transpose(1, 2).flatten(3).flatten(0, 1)[:, None]
    output = (torch.cat(samples, dim=-1) * weights).sum(-1)
    return output.view(batch, heads * dims, queries).transpose(1, 2)


def _by_mmcv(
    value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor
) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
    )

    # A copy that blocks would wait for all kernels in flight.
    sizes = torch.tensor(shapes).to(value.device, non_blocking=True)
    ends = sizes.prod(1).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return MultiScaleDeformableAttnFunction.apply(
        value.contiguous(),
        sizes,
        starts,
        locations.contiguous(),
        weights.contiguous(),
        max(len(value), 1),
    )
