"""Regression losses for targets that may be unknown."""

import torch.nn.functional as F
from torch import Tensor, nn

from fx_mm.registry import MODELS
from fx_mm.utils.checks import check_number
from fx_mm.utils.dist import count_per_rank


class MaskedRegressionLoss(nn.Module):
    """What the regression losses share.

    A target that is NaN is unknown and carries no loss; a batch without any
    known target gives 0 with zero gradients. The targets of all processes are
    counted, as in :class:`MaskedBCELoss`. Targets are standardised, so a loss
    of 1 is about what the mean of the training data has.

    Attributes:
        outputs (int): Outputs that a head needs per target; the first is the
            prediction.
    """

    outputs = 1

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            outputs (Tensor): Outputs of the head (B, C, :attr:`outputs`).
            target (Tensor): Standardised targets (B, C), NaN where unknown.

        Returns:
            Tensor: Scalar.
        """
        known = ~target.isnan()
        loss = self.per_target(outputs.float(), target.float().nan_to_num(0.0))
        return (loss * known).sum() / count_per_rank(known.sum())

    def per_target(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of each target (B, C), in float32; all are numbers here."""
        raise NotImplementedError

    def std(self, outputs: Tensor) -> Tensor | None:
        """Predicted standard deviation (B, C) of the standardised target.

        Args:
            outputs (Tensor): Outputs of the head (B, C, :attr:`outputs`).

        Returns:
            Tensor, optional: None where the loss teaches none.
        """
        return None


@MODELS.register_module()
class MaskedSmoothL1Loss(MaskedRegressionLoss):
    """Smooth L1: squared below ``beta``, linear above.

    Args:
        beta (float): In standard deviations of the training targets.
            Defaults to 1.0.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        check_number('beta of MaskedSmoothL1Loss', beta, 0)
        self.beta = beta

    def per_target(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of each target; see :class:`MaskedRegressionLoss`."""
        return F.smooth_l1_loss(
            outputs[..., 0], target, reduction='none', beta=self.beta
        )


@MODELS.register_module()
class MaskedGaussianLoss(MaskedRegressionLoss):
    """Negative log-likelihood of a Gaussian, without its constant.

    The head predicts a variance as well (softplus of its second output), so
    images that say little of the target weigh less, and each prediction has a
    standard deviation.

    Args:
        min_var (float): Lower bound of the variance, in squared standard
            deviations of the training targets. Defaults to 1e-4.
    """

    outputs = 2

    def __init__(self, min_var: float = 1e-4) -> None:
        super().__init__()
        check_number('min_var of MaskedGaussianLoss', min_var, 1e-12)
        self.min_var = min_var

    def per_target(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Loss of each target; see :class:`MaskedRegressionLoss`."""
        gap = outputs[..., 0] - target
        var = self._var(outputs)
        return 0.5 * (var.log() + gap**2 / var)

    def std(self, outputs: Tensor) -> Tensor:
        """Predicted standard deviation; see :class:`MaskedRegressionLoss`."""
        return self._var(outputs).sqrt()

    def _var(self, outputs: Tensor) -> Tensor:
        return self.min_var + F.softplus(outputs[..., 1])
