"""Triton kernels of multi-scale deformable attention, forward and backward.

One program takes a block of queries of one head and image, and one level
after the other: ``BLOCK_Q`` queries x ``BLOCK_P`` points x ``BLOCK_D``
channels. So each location and each weight is read once, the channels of a
cell are read 16 bytes at a time, and the four cells of all points of a block
are under way together. Coordinates and sums are in the type of the locations,
float32 in training, whatever the type of the values.

Sizes that change from batch to batch are read from memory or are plain
integers that nothing is specialised for, so a model compiles each kernel once
per type of its values.

``TRITON_INTERPRET=1``, set before Triton is imported, runs them on a CPU.
"""

import triton
import triton.language as tl


@triton.jit
def read_points(
    sizes: tl.tensor,
    locations: tl.tensor,
    row: tl.tensor,
    point: tl.tensor,
    kept: tl.tensor,
    level: tl.tensor,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """The points of a level, in units of its cells; cell i is around i.

    Returns:
        tuple: Height, width and first token of the level; where its points
        are in ``locations``; column and row of the cell left of and above
        each point, one beyond the map for all that is further outside and for
        NaN; how far right of it and below it the point is, NaN for NaN.
    """
    height = tl.load(sizes + 3 * level)
    width = tl.load(sizes + 3 * level + 1)
    start = tl.load(sizes + 3 * level + 2)
    slot = ((row * LEVELS + level) * POINTS)[:, None] + point[None, :]
    x = tl.load(locations + 2 * slot, mask=kept, other=0.0) * width - 0.5
    y = tl.load(locations + 2 * slot + 1, mask=kept, other=0.0) * height - 0.5
    left, top = tl.floor(x), tl.floor(y)
    right, below = x - left, y - top
    left = tl.minimum(tl.maximum(left, -2.0), width.to(x.dtype)).to(tl.int32)
    top = tl.minimum(tl.maximum(top, -2.0), height.to(x.dtype)).to(tl.int32)
    return height, width, start, slot, left, top, right, below


@triton.jit
def corner_of(
    corner: tl.constexpr,
    left: tl.tensor,
    top: tl.tensor,
    right: tl.tensor,
    below: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    start: tl.tensor,
    kept: tl.tensor,
    dim: tl.tensor,
    STRIDE: tl.constexpr,
    DIMS: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """One of the four cells around each point.

    Returns:
        tuple: Its share across and down; where its channels are, and which
        are on the map.
    """
    across = right if corner % 2 else 1 - right
    down = below if corner // 2 else 1 - below
    row, column = top + corner // 2, left + corner % 2
    inside = kept & (row >= 0) & (row < height)
    inside = inside & (column >= 0) & (column < width)
    token = (start + row * width + column).to(tl.int64)
    address = (token * STRIDE)[:, :, None] + dim[None, None, :]
    inside = inside[:, :, None] & (dim < DIMS)[None, None, :]
    return across, down, address, inside


@triton.jit(do_not_specialize=['tokens', 'queries'])
def forward_kernel(
    value: tl.tensor,
    sizes: tl.tensor,
    locations: tl.tensor,
    weights: tl.tensor,
    output: tl.tensor,
    tokens: tl.tensor,
    queries: tl.tensor,
    HEADS: tl.constexpr,
    DIMS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
) -> None:
    """Weighted bilinear samples.

    Grid: (blocks of queries * heads, images).

    Args:
        value: (B, tokens, heads, dims).
        sizes: Height, width and first token of each level, (levels, 3), int32.
        locations: (B, Q, heads, levels, points, 2), relative x and y.
        weights: (B, Q, heads, levels, points).
        output: (B, Q, heads, dims), in the type of ``value``.
        tokens: Tokens of an image.
        queries: Queries of an image.
        HEADS: Heads.
        DIMS: Channels of a head.
        LEVELS: Levels.
        POINTS: Points of a level.
        BLOCK_Q: Queries of a program.
        BLOCK_P: ``POINTS``, rounded up to a power of two.
        BLOCK_D: ``DIMS``, rounded up to a power of two.
    """
    head = tl.program_id(0) % HEADS
    query = tl.program_id(0) // HEADS * BLOCK_Q + tl.arange(0, BLOCK_Q)
    image = tl.program_id(1).to(tl.int64)
    point = tl.arange(0, BLOCK_P)
    dim = tl.arange(0, BLOCK_D)
    row = (image * queries + query) * HEADS + head
    kept = (query < queries)[:, None] & (point < POINTS)[None, :]
    value += (image * tokens * HEADS + head) * DIMS
    total = tl.zeros(
        (BLOCK_Q, BLOCK_P, BLOCK_D), dtype=locations.dtype.element_ty
    )
    for level in range(LEVELS):
        height, width, start, slot, left, top, right, below = read_points(
            sizes, locations, row, point, kept, level, LEVELS, POINTS
        )
        weight = tl.load(weights + slot, mask=kept, other=0.0)
        for corner in tl.static_range(4):
            across, down, address, inside = corner_of(
                corner,
                left,
                top,
                right,
                below,
                height,
                width,
                start,
                kept,
                dim,
                HEADS * DIMS,
                DIMS,
            )
            cell = tl.load(value + address, mask=inside, other=0.0)
            total += (weight * across * down)[:, :, None] * cell.to(
                total.dtype
            )
    address = (row * DIMS)[:, None] + dim[None, :]
    inside = (query < queries)[:, None] & (dim < DIMS)[None, :]
    sums = tl.sum(total, axis=1).to(output.dtype.element_ty)
    tl.store(output + address, sums, mask=inside)


@triton.jit(do_not_specialize=['tokens', 'queries'])
def backward_kernel(
    grad: tl.tensor,
    value: tl.tensor,
    sizes: tl.tensor,
    locations: tl.tensor,
    weights: tl.tensor,
    scale: tl.tensor,
    grad_value: tl.tensor,
    grad_locations: tl.tensor,
    grad_weights: tl.tensor,
    tokens: tl.tensor,
    queries: tl.tensor,
    HEADS: tl.constexpr,
    DIMS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
) -> None:
    """Gradients of all three inputs of :func:`forward_kernel`.

    Each cell's gradient is a sum over all points around it, in whatever order
    the programs come; where that order must not show, the sum is one of
    integers.

    Args:
        grad: Gradient of the output, (B, Q, heads, dims).
        value: As in :func:`forward_kernel`, like all that is not named here.
        sizes: The same.
        locations: The same.
        weights: The same.
        scale: A number on the device that makes gradients integers, or None.
        grad_value: (B, tokens, heads, dims), zeros: of the type of the
            locations, or int64 with ``scale``.
        grad_locations: Like the locations; all of it is written.
        grad_weights: Like the weights; all of it is written.
        tokens: Tokens of an image.
        queries: Queries of an image.
        HEADS: Heads.
        DIMS: Channels of a head.
        LEVELS: Levels.
        POINTS: Points of a level.
        BLOCK_Q: Queries of a program.
        BLOCK_P: ``POINTS``, rounded up to a power of two.
        BLOCK_D: ``DIMS``, rounded up to a power of two.
    """
    head = tl.program_id(0) % HEADS
    query = tl.program_id(0) // HEADS * BLOCK_Q + tl.arange(0, BLOCK_Q)
    image = tl.program_id(1).to(tl.int64)
    point = tl.arange(0, BLOCK_P)
    dim = tl.arange(0, BLOCK_D)
    row = (image * queries + query) * HEADS + head
    kept = (query < queries)[:, None] & (point < POINTS)[None, :]
    value += (image * tokens * HEADS + head) * DIMS
    grad_value += (image * tokens * HEADS + head) * DIMS
    wanted = tl.load(
        grad + (row * DIMS)[:, None] + dim[None, :],
        mask=(query < queries)[:, None] & (dim < DIMS)[None, :],
        other=0.0,
    ).to(locations.dtype.element_ty)[:, None, :]
    for level in range(LEVELS):
        height, width, start, slot, left, top, right, below = read_points(
            sizes, locations, row, point, kept, level, LEVELS, POINTS
        )
        weight = tl.load(weights + slot, mask=kept, other=0.0)
        grad_weight = tl.zeros_like(weight)
        grad_x = tl.zeros_like(weight)
        grad_y = tl.zeros_like(weight)
        for corner in tl.static_range(4):
            across, down, address, inside = corner_of(
                corner,
                left,
                top,
                right,
                below,
                height,
                width,
                start,
                kept,
                dim,
                HEADS * DIMS,
                DIMS,
            )
            cell = tl.load(value + address, mask=inside, other=0.0)
            product = tl.sum(cell.to(wanted.dtype) * wanted, axis=2)
            grad_weight += across * down * product
            grad_x += down * product if corner % 2 else -down * product
            grad_y += across * product if corner // 2 else -across * product
            part = (weight * across * down)[:, :, None] * wanted
            if scale is not None:
                part = (part * tl.load(scale)).to(tl.int64)
            tl.atomic_add(
                grad_value + address, part, mask=inside, sem='relaxed'
            )
        tl.store(grad_weights + slot, grad_weight, mask=kept)
        grad_x *= weight * width
        grad_y *= weight * height
        tl.store(grad_locations + 2 * slot, grad_x, mask=kept)
        tl.store(grad_locations + 2 * slot + 1, grad_y, mask=kept)
