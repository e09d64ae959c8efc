"""Classification losses for labels that may be unknown."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fx_mm.registry import MODELS
from fx_mm.utils.dist import count_per_rank


def _weight(weight: None | float | Sequence[float]) -> Tensor | None:
    return None if weight is None else torch.tensor(weight).float().view(-1)


@MODELS.register_module()
class MaskedBCELoss(nn.Module):
    """Binary cross-entropy with logits, averaged over the known labels.

    The loss of Foundation X for every classification head (paper, section
    3; Ark uses the same). A label that is NaN is unknown and carries no
    loss; a batch without any known label gives 0 with zero gradients. With
    several processes the labels of all are counted, and the mean of their
    losses is what one process would have.

    Args:
        pos_weight (float or Sequence[float], optional): Weight of the
            positive term, one for all classes or one per class.
            Defaults to None.
    """

    pos_weight: Tensor | None

    def __init__(
        self, pos_weight: None | float | Sequence[float] = None
    ) -> None:
        super().__init__()
        self.register_buffer(
            'pos_weight', _weight(pos_weight), persistent=False
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits (Tensor): Logits of shape (B, C).
            target (Tensor): Probabilities or 0/1 of shape (B, C), NaN where
                unknown.

        Returns:
            Tensor: Scalar.
        """
        known = ~target.isnan()
        loss = F.binary_cross_entropy_with_logits(
            logits.float(),
            target.float().nan_to_num(0.0),
            reduction='none',
            pos_weight=self.pos_weight,
        )
        return (loss * known).sum() / count_per_rank(known.sum())


@MODELS.register_module()
class MaskedFocalLoss(nn.Module):
    """Sigmoid focal loss (Lin et al. 2017), averaged over the known labels.

    For tasks whose positives are few: labels that are already predicted well
    count less, by ``(1 - p_t) ** gamma``. Unknown labels and several
    processes as in :class:`MaskedBCELoss`, which ``gamma=0`` without
    ``alpha`` is. A label between 0 and 1 has p_t between p and 1 - p, as in
    torchvision.

    Args:
        gamma (float): Exponent. Defaults to 2.0.
        alpha (float or Sequence[float], optional): Weight of the positive
            term, 1 - alpha that of the negative one; one for all classes or
            one per class. Defaults to None, which weighs neither.
    """

    alpha: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: None | float | Sequence[float] = None,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer('alpha', _weight(alpha), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits (Tensor): Logits of shape (B, C).
            target (Tensor): Probabilities or 0/1 of shape (B, C), NaN where
                unknown.

        Returns:
            Tensor: Scalar.
        """
        known = ~target.isnan()
        logits, target = logits.float(), target.float().nan_to_num(0.0)
        loss = F.binary_cross_entropy_with_logits(
            logits, target, reduction='none'
        )
        score = logits.sigmoid()
        missed = (1 - score) * target + score * (1 - target)
        # a root of 0 has an infinite slope, where a logit is certain
        loss = loss * missed.clamp(min=1e-12) ** self.gamma
        if self.alpha is not None:
            loss = loss * (
                self.alpha * target + (1 - self.alpha) * (1 - target)
            )
        return (loss * known).sum() / count_per_rank(known.sum())


@MODELS.register_module()
class MaskedSoftmaxLoss(nn.Module):
    """Cross-entropy over exclusive classes, averaged over the known rows.

    The rows of all processes are counted, as in :class:`MaskedBCELoss`.

    Args:
        class_weight (float or Sequence[float], optional): Weight of each
            class. Defaults to None.
    """

    class_weight: Tensor | None

    def __init__(
        self, class_weight: None | float | Sequence[float] = None
    ) -> None:
        super().__init__()
        self.register_buffer(
            'class_weight', _weight(class_weight), persistent=False
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits (Tensor): Logits of shape (B, C).
            target (Tensor): One-hot or probability rows of shape (B, C); a
                row with a NaN is unknown and carries no loss.

        Returns:
            Tensor: Scalar.
        """
        known = ~target.isnan().any(dim=1)
        target = target.float().nan_to_num(0.0)
        if self.class_weight is not None:
            target = target * self.class_weight
        loss = -(target * logits.float().log_softmax(dim=1)).sum(dim=1)
        return (loss * known).sum() / count_per_rank(known.sum())
