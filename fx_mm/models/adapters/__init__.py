from fx_mm.models.adapters.base import GROUP, Adapter
from fx_mm.models.adapters.guided_mixture import GuidedMixture
from fx_mm.models.adapters.kind_lora import KindLoRA
from fx_mm.models.adapters.kind_norms import KindNorms
from fx_mm.models.adapters.lora import LoRA
from fx_mm.models.adapters.mixture import LoRAMixture

__all__ = [
    'GROUP',
    'Adapter',
    'GuidedMixture',
    'KindLoRA',
    'KindNorms',
    'LoRA',
    'LoRAMixture',
]
