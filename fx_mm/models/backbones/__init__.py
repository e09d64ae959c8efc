from fx_mm.models.backbones.build import build_backbone, probe_backbone
from fx_mm.models.backbones.export import FoundationXBackbone
from fx_mm.models.backbones.patch_masking import HiddenPatches, PatchMasking
from fx_mm.models.backbones.pretrained import PretrainedWeights
from fx_mm.models.backbones.swin import FusedSwinTransformer
from fx_mm.models.backbones.vit import PlainViT, RotaryViT
from fx_mm.models.backbones.vit_pyramid import PyramidViT

__all__ = [
    'FoundationXBackbone',
    'FusedSwinTransformer',
    'HiddenPatches',
    'PatchMasking',
    'PlainViT',
    'PretrainedWeights',
    'PyramidViT',
    'RotaryViT',
    'build_backbone',
    'probe_backbone',
]
