from .denoising import DenoisingQueries
from .dino_head import BoxMLP, TaskDINOHead
from .localization_encoder import PyramidEncoder
from .localization_task import LocalizationTask, grid_proposals
from .pyramid import PyramidDecoder, PyramidPooling

__all__ = [
    'BoxMLP',
    'DenoisingQueries',
    'LocalizationTask',
    'PyramidDecoder',
    'PyramidEncoder',
    'PyramidPooling',
    'TaskDINOHead',
    'grid_proposals',
]
