"""Cross-entropy of tokens that weigh differently."""

import torch.nn.functional as F
from torch import Tensor


def weighted_token_loss(
    logits: Tensor, target: Tensor, weights: Tensor, label_smoothing: float
) -> Tensor:
    """Weighted mean of the cross-entropy over the tokens of a batch.

    Args:
        logits (Tensor): (B, T, V), in float32.
        target (Tensor): int64 (B, T).
        weights (Tensor): (B, T); 0 for what is not to be learned.
        label_smoothing (float): Share of each target that is spread over the
            vocabulary.

    Returns:
        Tensor: Scalar; 0 where nothing has a weight.
    """
    each = F.cross_entropy(
        logits.flatten(0, 1),
        target.flatten(),
        reduction='none',
        label_smoothing=label_smoothing,
    )
    weights = weights.flatten()
    return (each * weights).sum() / weights.sum().clamp(min=1e-6)
