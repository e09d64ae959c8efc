from fx_mm.utils.check_env import leave_out_multimodal

# Before anything imports mmpretrain's models, or mmdet's, which import them.
leave_out_multimodal()

from fx_mm.models.adapters import LoRA
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
    MaskedImageBranch,
    RegressionBranch,
    ReportBranch,
    SegmentationBranch,
    SelfDistillationBranch,
)
from fx_mm.models.data_preprocessor import TaskDataPreprocessor
from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.layers import (
    PyramidDecoder,
    RegionGuidance,
    TaskDINOHead,
    UPerDecoder,
)
from fx_mm.models.loading import build_model, load_model, open_model
from fx_mm.models.losses import (
    MaskedBCELoss,
    MaskedFocalLoss,
    MaskedGaussianLoss,
    MaskedSmoothL1Loss,
    MaskedSoftmaxLoss,
    SoftDiceLoss,
)
from fx_mm.models.mean_teacher import MeanTeacher, with_tasks
from fx_mm.models.param_groups import ParamGroup
from fx_mm.models.task_modules import StackedMatcher

__all__ = [
    'Branch',
    'ClassificationBranch',
    'FoundationX',
    'FoundationXBackbone',
    'FusedSwinTransformer',
    'LoRA',
    'LocalizationBranch',
    'MaskedBCELoss',
    'MaskedFocalLoss',
    'MaskedGaussianLoss',
    'MaskedImageBranch',
    'MaskedSmoothL1Loss',
    'MaskedSoftmaxLoss',
    'MeanTeacher',
    'ParamGroup',
    'PretrainedWeights',
    'PyramidDecoder',
    'RegionGuidance',
    'RegressionBranch',
    'ReportBranch',
    'SegmentationBranch',
    'SelfDistillationBranch',
    'SoftDiceLoss',
    'StackedMatcher',
    'TaskDINOHead',
    'TaskDataPreprocessor',
    'UPerDecoder',
    'build_backbone',
    'build_model',
    'load_model',
    'open_model',
    'probe_backbone',
    'with_tasks',
]
