from .base import Branch
from .classification import ClassificationBranch
from .localization import LocalizationBranch
from .segmentation import SegmentationBranch

__all__ = [
    'Branch',
    'ClassificationBranch',
    'LocalizationBranch',
    'SegmentationBranch',
]
