from .backbones import build_backbone, probe_backbone
from .branches import (
    Branch,
    ClassificationBranch,
    LocalizationBranch,
    SegmentationBranch,
)
from .data_preprocessor import TaskDataPreprocessor
from .foundation_x import FoundationX
from .layers import PyramidDecoder, TaskDINOHead
from .losses import MaskedBCELoss, MaskedSoftmaxLoss, SoftDiceLoss
from .mean_teacher import MeanTeacher
from .parts import Part
from .task_modules import StackedMatcher

__all__ = [
    'Branch',
    'ClassificationBranch',
    'FoundationX',
    'LocalizationBranch',
    'MaskedBCELoss',
    'MaskedSoftmaxLoss',
    'MeanTeacher',
    'Part',
    'PyramidDecoder',
    'SegmentationBranch',
    'SoftDiceLoss',
    'StackedMatcher',
    'TaskDINOHead',
    'TaskDataPreprocessor',
    'build_backbone',
    'probe_backbone',
]
