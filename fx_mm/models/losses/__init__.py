from fx_mm.models.losses.classification import (
    MaskedBCELoss,
    MaskedFocalLoss,
    MaskedSoftmaxLoss,
)
from fx_mm.models.losses.dice import SoftDiceLoss

__all__ = [
    'MaskedBCELoss',
    'MaskedFocalLoss',
    'MaskedSoftmaxLoss',
    'SoftDiceLoss',
]
