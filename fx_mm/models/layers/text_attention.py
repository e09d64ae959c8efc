"""Attention and layers that decoder and resampler of reports share."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn


class KeysValues(NamedTuple):
    """What is attended to, each (B, heads, T, dims / heads)."""

    keys: Tensor
    values: Tensor

    def then(self, other: 'KeysValues') -> 'KeysValues':
        """Append what comes behind."""
        return KeysValues(
            *(torch.cat(pair, dim=2) for pair in zip(self, other))
        )

    def rows(self, index: Tensor) -> 'KeysValues':
        """Return some rows, in the order of an index."""
        return KeysValues(*(part[index] for part in self))


class Attention(BaseModule):
    """Attention whose keys and values can be kept.

    Args:
        dims (int): Width.
        heads (int): Number of heads.
        dropout (float): Of the attention, in training.
    """

    def __init__(self, dims: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dims, dims)
        self.memory = nn.Linear(dims, 2 * dims)
        self.out = nn.Linear(dims, dims)
        # torch's own start of a linear layer attends to all alike
        nn.init.xavier_uniform_(self.query.weight)
        for part in self.memory.weight.chunk(2):
            nn.init.xavier_uniform_(part)

    def remember(self, tokens: Tensor) -> KeysValues:
        """Return keys and values of tokens (B, T, D)."""
        return KeysValues(
            *(self._split(part) for part in self.memory(tokens).chunk(2, -1))
        )

    def forward(
        self, tokens: Tensor, memory: KeysValues, causal: bool = False
    ) -> Tensor:
        """Attend from tokens (B, T, D), to those before alone if causal."""
        found = F.scaled_dot_product_attention(
            self._split(self.query(tokens)),
            *memory,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Norm, two layers of four times the width between, dropout."""

    def __init__(self, dims: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(dims),
            nn.Linear(dims, 4 * dims),
            nn.GELU(),
            nn.Linear(4 * dims, dims),
            nn.Dropout(dropout),
        )
