"""Rotary position embedding of EVA-02."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

THETA = 10000.0


class AxialRotation(nn.Module):
    """Rotate queries and keys by where their patch is: EVA-02's RoPE.

    Half of a head's channels turn with the row, half with the column, in
    pairs of neighbours. A grid of another size than that of the pretraining
    is squeezed into its range, as EVA-02 is fine-tuned. mmpretrain's
    ``RotaryEmbeddingFast`` has another range and order of frequencies; timm's
    is the one with which EVA-02 and EVA-X were trained.

    Args:
        dims (int): Channels of a head, a multiple of 4.
        grid (tuple[int]): Rows and columns of patches in pretraining.
    """

    def __init__(self, dims: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.dims = dims
        self.grid = grid

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens (B, heads, h * w, dims) of a grid (h, w), rotated."""
        sine, cosine = rotation(
            self.dims, self.grid, (int(size[0]), int(size[1])), x.device
        )
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
        return (x * cosine + turned * sine).type_as(x)


def build_rotation(
    dims: int,
    grid: tuple[int, int],
    size: tuple[int, int],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Sine and cosine (h * w, dims) of each patch's angles.

    Args:
        dims (int): Channels of a head.
        grid (tuple[int]): Rows and columns of the pretraining.
        size (tuple[int]): Rows and columns h, w now.
        device (torch.device): Where they are wanted.
    """
    bands = THETA ** -(torch.arange(0, dims // 2, 2) / (dims // 2))
    rows, columns = (
        torch.arange(now) / now * before
        for now, before in zip(size, grid, strict=True)
    )
    places = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), -1)
    angles = (places[..., None] * bands).flatten(0, 1).flatten(1)
    angles = angles.repeat_interleave(2, 1)
    return angles.sin().to(device), angles.cos().to(device)


@lru_cache(maxsize=16)
def _kept_rotation(*args: Any) -> tuple[Tensor, Tensor]:
    # What is first made under inference_mode must serve training too.
    with torch.inference_mode(False), torch.no_grad():
        return build_rotation(*args)


def rotation(*args: Any) -> tuple[Tensor, Tensor]:
    """:func:`build_rotation`, built once, or inside of a compiled graph."""
    if torch.compiler.is_compiling():
        return build_rotation(*args)
    return _kept_rotation(*args)
