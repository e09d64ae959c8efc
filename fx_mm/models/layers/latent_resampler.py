"""A few learned latents in place of all positions of backbone maps."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.layers import SinePositionalEncoding
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from fx_mm.models.layers.map_norm import build_map_norm
from fx_mm.models.layers.text_attention import Attention, FeedForward


class ResamplerLayer(BaseModule):
    """Latents attend to tokens and latents, then a feed-forward part.

    Args:
        dims (int): Width.
        heads (int): Number of heads.
        dropout (float): In training.
    """

    def __init__(self, dims: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(dims)
        self.norm_latents = nn.LayerNorm(dims)
        self.attention = Attention(dims, heads, dropout)
        self.feed_forward = FeedForward(dims, dropout)

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Latents (B, N, D) of latents and tokens (B, T, D)."""
        queries = self.norm_latents(latents)
        memory = torch.cat([self.norm_tokens(tokens), queries], dim=1)
        latents = latents + self.attention(
            queries, self.attention.remember(memory)
        )
        return latents + self.feed_forward(latents)


class LatentResampler(BaseModule):
    """Backbone maps of any size to N vectors.

    The resampler of Flamingo (Alayrac et al., NeurIPS 2022; arXiv
    2204.14198), with a fixed encoding of the positions.

    Args:
        in_channels (Sequence[int]): Channels of the maps.
        latents (int): Number of vectors N.
        depth (int): Number of layers.
        dims (int): Width of the vectors.
        heads (int): Number of heads.
        dropout (float): In training.
        norm_cfg (dict, optional): Norm over the channels of each map.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        latents: int,
        depth: int,
        dims: int,
        heads: int,
        dropout: float,
        norm_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        self.norms = ModuleList(
            build_map_norm(norm_cfg, width) for width in in_channels
        )
        self.projections = ModuleList(
            nn.Linear(width, dims) for width in in_channels
        )
        self.positions = SinePositionalEncoding(dims // 2, normalize=True)
        self.stages = nn.Parameter(0.02 * torch.randn(len(in_channels), dims))
        # smaller ones would all become the mean of what they attend to
        self.latents = nn.Parameter(torch.randn(latents, dims))
        self.layers = ModuleList(
            ResamplerLayer(dims, heads, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dims)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Vectors (B, N, D) of maps (B, C, h, w)."""
        tokens = torch.cat(
            [
                self._tokens(number, each).flatten(2).transpose(1, 2)
                for number, each in enumerate(maps)
            ],
            dim=1,
        )
        latents = self.latents.expand(len(tokens), -1, -1)
        for layer in self.layers:
            latents = layer(latents, tokens)
        return self.norm(latents)

    def _tokens(self, number: int, each: Tensor) -> Tensor:
        """Project a map to (B, D, h, w), with place and stage."""
        normed = self.norms[number](each).movedim(1, -1)
        tokens = self.projections[number](normed) + self.stages[number]
        nowhere = torch.zeros(
            (len(each), *each.shape[2:]), dtype=torch.bool, device=each.device
        )
        return tokens.movedim(-1, 1) + self.positions(nowhere)
