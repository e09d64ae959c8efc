from .build import build_backbone, probe_backbone
from .export import FoundationXBackbone
from .pretrained import PretrainedWeights
from .swin import FusedSwinTransformer

__all__ = [
    'FoundationXBackbone',
    'FusedSwinTransformer',
    'PretrainedWeights',
    'build_backbone',
    'probe_backbone',
]
