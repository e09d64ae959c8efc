from .classification import MaskedBCELoss, MaskedSoftmaxLoss
from .dice import SoftDiceLoss

__all__ = ['MaskedBCELoss', 'MaskedSoftmaxLoss', 'SoftDiceLoss']
