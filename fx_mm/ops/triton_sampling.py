"""The Triton kernels of deformable attention as an operator of PyTorch.

``torch.ops.fx_mm.sample_levels`` has a shape function and a gradient, so
``torch.compile`` takes it into its graph. Triton itself is imported at the
first call.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

FORWARD, BACKWARD = (4, 16), (4, 8)
"""Warps of a program, and values of each thread at a time. For an H100 (sm_90)
this makes 56 and 80 registers a thread in bfloat16, so that 9 and 6 programs
share a multiprocessor; ``benchmark_deformable_attention.py --sweep`` tries
others."""


@lru_cache(maxsize=1024)
def level_table(shapes: tuple[int, ...], device: torch.device) -> Tensor:
    """Height, width and first token of each level, (levels, 3), int32.

    They are copied once per list of sizes; that copy waits for the device, so
    that all streams may read it.
    """
    pairs = list(zip(shapes[::2], shapes[1::2]))
    starts = accumulate((h * w for h, w in pairs), initial=0)
    rows = [(h, w, start) for (h, w), start in zip(pairs, starts)]
    return torch.tensor(rows, dtype=torch.int32, device=device)


def _launch(
    kernel: Any,
    form: tuple[int, int],
    value: Tensor,
    locations: Tensor,
    *tensors: Tensor | None,
) -> None:
    """Run a kernel over all blocks of queries, heads and images.

    A program has fewer points than threads, so that Triton lets each thread
    read the coordinates it needs, without a detour over shared memory.
    """
    import triton

    warps, values = form

    batch, queries, heads, levels, points, _ = locations.shape
    tokens, _, dims = value.shape[1:]
    block_p = triton.next_power_of_2(points)
    block_d = triton.next_power_of_2(dims)
    block_q = min(16 * warps, 32 * warps * values // block_d) // block_p
    block_q = max(block_q, 1)
    grid = (triton.cdiv(queries, block_q) * heads, batch)
    if not batch * queries * heads * dims:
        return
    with torch.cuda.device_of(value):
        kernel[grid](
            *tensors,
            tokens,
            queries,
            HEADS=heads,
            DIMS=dims,
            LEVELS=levels,
            POINTS=points,
            BLOCK_Q=block_q,
            BLOCK_P=block_p,
            BLOCK_D=block_d,
            num_warps=warps,
        )


def _check(
    value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> None:
    """Refuse what would read beyond the end of a tensor.

    Raises:
        ValueError: If shapes or types do not fit each other.
    """
    batch, tokens, heads, _ = value.shape
    levels = len(shapes) // 2
    cells = sum(h * w for h, w in zip(shapes[::2], shapes[1::2]))
    lead = (batch, locations.shape[1], heads, levels, locations.shape[4])
    if (
        cells != tokens
        or weights.shape != lead
        or locations.shape != (*lead, 2)
        or weights.dtype != locations.dtype
    ):
        raise ValueError(
            f'values {tuple(value.shape)}, level sizes {list(shapes)}, '
            f'locations {tuple(locations.shape)} and weights '
            f'{tuple(weights.shape)} do not fit each other'
        )


@torch.library.custom_op('fx_mm::sample_levels', mutates_args=())
def triton_sample_levels(
    value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    """Weighted bilinear samples of all levels, by Triton.

    Args:
        value (Tensor): (B, tokens, heads, dims), float32, bfloat16, float16
            or float64.
        shapes (list[int]): Height and width of each level, in one row.
        locations (Tensor): Relative x, y in 0..1, (B, Q, heads, levels,
            points, 2). Their type, float32 or float64, is that of the sums.
        weights (Tensor): (B, Q, heads, levels, points), of the same type.

    Returns:
        Tensor: (B, Q, heads * dims), in the type of ``value``.
    """
    from fx_mm.ops.triton_kernels import forward_kernel

    _check(value, shapes, locations, weights)
    value = value.contiguous()
    batch, queries, heads = locations.shape[:3]
    output = value.new_empty((batch, queries, heads * value.shape[3]))
    sizes = level_table(tuple(shapes), value.device)
    locations, weights = locations.contiguous(), weights.contiguous()
    _launch(
        *(forward_kernel, FORWARD, value, locations),
        *(value, sizes, locations, weights, output),
    )
    return output


@torch.library.custom_op('fx_mm::sample_levels_backward', mutates_args=())
def triton_sample_levels_backward(
    grad: Tensor,
    value: Tensor,
    shapes: Sequence[int],
    locations: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights.

    Programs add to the gradient of a value in any order. With
    ``torch.use_deterministic_algorithms(True)`` they add integers of 64 bits
    in units of 2**-62 of the largest sum that could be, so any order gives
    the same bits.
    """
    from fx_mm.ops.triton_kernels import backward_kernel

    value, grad = value.contiguous(), grad.contiguous()
    locations, weights = locations.contiguous(), weights.contiguous()
    sizes = level_table(tuple(shapes), value.device)
    grad_locations = torch.empty_like(locations)
    grad_weights = torch.empty_like(weights)
    scale, kind = None, locations.dtype
    if torch.are_deterministic_algorithms_enabled() and locations.numel():
        scale, kind = _scale(grad, weights), torch.int64
    grad_value = torch.zeros_like(value, dtype=kind)
    _launch(
        *(backward_kernel, BACKWARD, value, locations),
        *(grad, value, sizes, locations, weights, scale),
        *(grad_value, grad_locations, grad_weights),
    )
    if scale is not None:
        grad_value = grad_value.to(locations.dtype) / scale
    return grad_value.to(value.dtype), grad_locations, grad_weights


def _scale(grad: Tensor, weights: Tensor) -> Tensor:
    """A power of two that makes all sums fit into 63 bits.

    A cell is at most once a corner of a point, so it sums at most as many
    parts as there are points of a level. NaN if a gradient is not finite,
    which makes all of the result NaN.
    """
    _, queries, _, _, points = weights.shape
    largest = grad.abs().amax().to(weights.dtype) * weights.abs().amax()
    _, exponent = torch.frexp(largest)
    exponent = 62 - (queries * points).bit_length() - exponent
    # float32 ends at 2**127
    scale = torch.ldexp(torch.ones_like(largest), exponent.clamp(max=126))
    return scale + 0 * largest


@triton_sample_levels.register_fake
def _fake(
    value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    batch, queries = locations.shape[:2]
    return value.new_empty((batch, queries, value.shape[2] * value.shape[3]))


@triton_sample_levels_backward.register_fake
def _fake_backward(
    grad: Tensor,
    value: Tensor,
    shapes: Sequence[int],
    locations: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = (value, locations, weights)
    first, second, third = (each.new_empty(each.shape) for each in inputs)
    return first, second, third


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, ctx.shapes, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
    value, locations, weights = ctx.saved_tensors
    grads = triton_sample_levels_backward(
        grad, value, ctx.shapes, locations, weights
    )
    return grads[0], None, grads[1], grads[2]


triton_sample_levels.register_autograd(_backward, setup_context=_keep)
