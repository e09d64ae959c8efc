from fx_mm.models.branches.base import Branch
from fx_mm.models.branches.classification import ClassificationBranch
from fx_mm.models.branches.localization import LocalizationBranch
from fx_mm.models.branches.masked_images import MaskedImageBranch
from fx_mm.models.branches.regression import RegressionBranch
from fx_mm.models.branches.reporting import ReportBranch
from fx_mm.models.branches.segmentation import SegmentationBranch
from fx_mm.models.branches.self_distillation import SelfDistillationBranch

__all__ = [
    'Branch',
    'ClassificationBranch',
    'LocalizationBranch',
    'MaskedImageBranch',
    'RegressionBranch',
    'ReportBranch',
    'SegmentationBranch',
    'SelfDistillationBranch',
]
