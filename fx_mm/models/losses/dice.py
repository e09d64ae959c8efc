"""Soft Dice over a batch."""

from torch import Tensor, nn

from fx_mm.registry import MODELS
from fx_mm.utils.dist import sum_over_ranks
from fx_mm.utils.errors import UserError


@MODELS.register_module()
class SoftDiceLoss(nn.Module):
    """Batch-flattened soft Dice loss of overlapping channels.

    ``1 - (2 * sum(y * p) + smooth) / (sum(y) + sum(p) + smooth)`` with the
    sums over the whole batch (Foundation X, reference code 1.5), which is
    that of all processes.

    Args:
        smooth (float): Added to numerator and denominator. Defaults to 1.
        per_channel (bool): Sum each channel by itself and average (Foundation
            X+), instead of over all channels at once (Foundation X).
            Defaults to False.
        present_only (bool): With ``per_channel``, average over the channels
            that have a pixel in the batch. A rare finding is absent from most
            batches, and each of those would teach "nothing" at full weight;
            leave those to a BCE term. Defaults to False.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        per_channel: bool = False,
        present_only: bool = False,
    ) -> None:
        super().__init__()
        if present_only and not per_channel:
            raise UserError(
                'SoftDiceLoss present_only averages over channels; set '
                'per_channel=True too.'
            )
        self.smooth = smooth
        self.per_channel = per_channel
        self.present_only = present_only

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits (Tensor): Logits of shape (B, C, H, W).
            target (Tensor): Masks 0/1 of shape (B, C, H, W).

        Returns:
            Tensor: Scalar.
        """
        probs = logits.float().sigmoid()
        target = target.float()
        dims = (0, 2, 3) if self.per_channel else (0, 1, 2, 3)
        overlap, truth = (probs * target).sum(dims), target.sum(dims)
        total = probs.sum(dims) + truth
        overlap, total, truth = sum_over_ranks(overlap, total, truth)
        dice = (2 * overlap + self.smooth) / (total + self.smooth)
        if not (self.per_channel and self.present_only):
            return (1 - dice).mean()
        present = truth > 0
        return ((1 - dice) * present).sum() / present.sum().clamp(min=1)
