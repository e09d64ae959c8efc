from fx_mm.models.backbones import (
    FoundationXBackbone,
    FusedSwinTransformer,
    PretrainedWeights,
    build_backbone,
    probe_backbone,
)
from fx_mm.models.branches import (
    Branch,
    ClassificationBranch,
    LocalizationBranch,
    SegmentationBranch,
)
from fx_mm.models.data_preprocessor import TaskDataPreprocessor
from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.layers import (
    PyramidDecoder,
    RegionGuidance,
    TaskDINOHead,
    UPerDecoder,
)
from fx_mm.models.losses import (
    MaskedBCELoss,
    MaskedFocalLoss,
    MaskedSoftmaxLoss,
    SoftDiceLoss,
)
from fx_mm.models.mean_teacher import MeanTeacher
from fx_mm.models.parts import Part
from fx_mm.models.task_modules import StackedMatcher

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
