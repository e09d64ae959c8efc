"""Dice of masks at many thresholds, without keeping a probability."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

LIMITS = torch.arange(1, 20) / 20
"""Thresholds that are compared: 0.05, 0.10, ..., 0.95."""


class PixelTally:
    """Pixels of each class by their probability, inside and outside.

    Args:
        classes (int): Number of classes.

    Attributes:
        counts (Tensor): int64 (2, C, 20): pixels outside and inside of the
            true mask, whose probability reaches so many of the
            :data:`LIMITS` minus those that reach one more.
    """

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(
            2, classes, len(LIMITS) + 1, dtype=torch.int64
        )

    def add(self, prob: Tensor, truth: Any) -> None:
        """Count the pixels of an image.

        Args:
            prob (Tensor): (C, h, w).
            truth (PixelData): ``data`` (C, h, w), nonzero = inside, and
                perhaps ``ignore`` (C, h, w) or (1, h, w), nonzero = not
                counted.
        """
        level = torch.bucketize(
            prob.float(), LIMITS.to(prob.device), right=True
        )
        inside = truth.data.to(prob.device) > 0
        counted = torch.ones_like(inside)
        if truth.get('ignore') is not None:
            counted &= truth.ignore.to(prob.device) == 0
        for row, which in enumerate((~inside & counted, inside & counted)):
            for number, (levels, chosen) in enumerate(zip(level, which)):
                self.counts[row, number] += torch.bincount(
                    levels[chosen], minlength=len(LIMITS) + 1
                ).cpu()

    def add_all(self, others: Iterable['PixelTally']) -> 'PixelTally':
        """Add other tallies, and return this one."""
        for other in others:
            self.counts += other.counts
        return self

    def best(self) -> list[tuple[float, float]]:
        """Return the threshold with the best Dice over all pixels, and it.

        Of equally good ones the highest.

        Returns:
            list[tuple[float, float]]: One per class; NaN and 0 where nothing
            of the true masks is found.
        """
        # pixels that reach each limit
        false, true = self.counts.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        present = self.counts[1].sum(-1, keepdim=True)
        dice = 2 * true / (true + false + present).clamp(min=1)
        value, place = dice.flip(-1).max(-1)
        limits = LIMITS.flip(0)[place]
        limits = limits.masked_fill(value == 0, float('nan'))
        return list(zip(limits.tolist(), value.tolist()))
