"""Backbones that can be shown an image with some of its patches hidden."""

from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor


class HiddenPatches(NamedTuple):
    """Which patches of a batch are hidden, and what stands in their place.

    Attributes:
        where (Tensor): bool (B, h, w), one per patch.
        token (Tensor): The embedding of a hidden patch (C,).
    """

    where: Tensor
    token: Tensor

    def replace(self, tokens: Tensor) -> Tensor:
        """Put the token in place of hidden patches.

        Nothing of their pixels is left, not even a NaN.

        Args:
            tokens (Tensor): Embedded patches (B, h * w, C), before any
                position is added.

        Returns:
            Tensor: The same with hidden ones replaced.
        """
        hidden = self.where.flatten(1)[..., None]
        return torch.where(hidden, self.token.to(tokens.dtype), tokens)


class _PatchEmbed(Protocol):
    embed_dims: int
    projection: Any


class PatchMasking:
    """Mixin of a backbone that begins with :attr:`embedding`.

    Its ``forward(images, hidden=None)`` takes :class:`HiddenPatches` and
    calls :meth:`HiddenPatches.replace` on what ``PatchEmbed`` of mmdet or
    mmpretrain returned, before positions are added.
    """

    @property
    def embedding(self) -> _PatchEmbed:
        """The embedding of patches, by default ``patch_embed``."""
        return cast(Any, self).patch_embed

    @property
    def patch_dims(self) -> int:
        """int: Width of an embedded patch."""
        return self.embedding.embed_dims

    @property
    def patch_stride(self) -> int:
        """int: Side of a patch in pixels."""
        return int(self.embedding.projection.stride[0])
