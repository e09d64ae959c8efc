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
from .task_modules import BoxL1Cost, FiniteHungarianAssigner

__all__ = [
    'BoxL1Cost',
    'Branch',
    'ClassificationBranch',
    'FiniteHungarianAssigner',
    'FoundationX',
    'LocalizationBranch',
    'MaskedBCELoss',
    'MaskedSoftmaxLoss',
    'MeanTeacher',
    'Part',
    'PyramidDecoder',
    'SegmentationBranch',
    'SoftDiceLoss',
    'TaskDINOHead',
    'TaskDataPreprocessor',
    'build_backbone',
    'probe_backbone',
]
