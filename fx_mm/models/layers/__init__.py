from .deformable_attention import DeformableAttention
from .denoising import DenoisingQueries
from .dino_decoder import TaskDINODecoder
from .dino_head import BoxMLP, TaskDINOHead
from .localization_encoder import PyramidEncoder
from .localization_task import LocalizationTask, grid_proposals
from .pyramid import PyramidDecoder, PyramidPooling
from .region_guidance import RegionGuidance
from .uper_decoder import UPerDecoder

__all__ = [
    'BoxMLP',
    'DeformableAttention',
    'DenoisingQueries',
    'LocalizationTask',
    'PyramidDecoder',
    'PyramidEncoder',
    'PyramidPooling',
    'RegionGuidance',
    'TaskDINODecoder',
    'TaskDINOHead',
    'UPerDecoder',
    'grid_proposals',
]
