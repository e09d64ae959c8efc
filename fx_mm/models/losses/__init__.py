from fx_mm.models.losses.classification import (
    MaskedBCELoss,
    MaskedFocalLoss,
    MaskedSoftmaxLoss,
)
from fx_mm.models.losses.dice import SoftDiceLoss
from fx_mm.models.losses.regression import (
    MaskedGaussianLoss,
    MaskedSmoothL1Loss,
)

__all__ = [
    'MaskedBCELoss',
    'MaskedFocalLoss',
    'MaskedGaussianLoss',
    'MaskedSmoothL1Loss',
    'MaskedSoftmaxLoss',
    'SoftDiceLoss',
]
