from .classification import MaskedBCELoss, MaskedFocalLoss, MaskedSoftmaxLoss
from .dice import SoftDiceLoss

__all__ = [
    'MaskedBCELoss',
    'MaskedFocalLoss',
    'MaskedSoftmaxLoss',
    'SoftDiceLoss',
]
