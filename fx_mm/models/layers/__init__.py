from fx_mm.models.layers.denoising import DenoisingQueries
from fx_mm.models.layers.dino_config import dino_config
from fx_mm.models.layers.dino_decoder import TaskDINODecoder
from fx_mm.models.layers.dino_head import BoxMLP, TaskDINOHead
from fx_mm.models.layers.dino_modules import build_decoder, build_head
from fx_mm.models.layers.localization_encoder import PyramidEncoder
from fx_mm.models.layers.localization_task import (
    LocalizationTask,
    grid_proposals,
)
from fx_mm.models.layers.map_norm import LayerNorm2d, build_map_norm
from fx_mm.models.layers.pyramid import PyramidDecoder, PyramidPooling
from fx_mm.models.layers.region_guidance import RegionGuidance
from fx_mm.models.layers.uper_decoder import UPerDecoder

__all__ = [
    'BoxMLP',
    'DenoisingQueries',
    'LayerNorm2d',
    'LocalizationTask',
    'PyramidDecoder',
    'PyramidEncoder',
    'PyramidPooling',
    'RegionGuidance',
    'TaskDINODecoder',
    'TaskDINOHead',
    'UPerDecoder',
    'build_decoder',
    'build_head',
    'build_map_norm',
    'dino_config',
    'grid_proposals',
]
