from .backbones import (
    FoundationXBackbone,
    FusedSwinTransformer,
    PretrainedWeights,
    build_backbone,
    probe_backbone,
)
from .branches import (
    Branch,
    ClassificationBranch,
    LocalizationBranch,
    SegmentationBranch,
)
from .data_preprocessor import TaskDataPreprocessor
from .foundation_x import FoundationX
from .layers import (
    PyramidDecoder,
    RegionGuidance,
    TaskDINOHead,
    UPerDecoder,
)
from .losses import (
    MaskedBCELoss,
    MaskedFocalLoss,
    MaskedSoftmaxLoss,
    SoftDiceLoss,
)
from .mean_teacher import MeanTeacher
from .parts import Part
from .task_modules import StackedMatcher

__all__ = [
    'Branch',
    'ClassificationBranch',
    'FoundationX',
    'FoundationXBackbone',
    'FusedSwinTransformer',
    'LocalizationBranch',
    'MaskedBCELoss',
    'MaskedFocalLoss',
    'MaskedSoftmaxLoss',
    'MeanTeacher',
    'Part',
    'PretrainedWeights',
    'PyramidDecoder',
    'RegionGuidance',
    'SegmentationBranch',
    'SoftDiceLoss',
    'StackedMatcher',
    'TaskDINOHead',
    'TaskDataPreprocessor',
    'UPerDecoder',
    'build_backbone',
    'probe_backbone',
]
