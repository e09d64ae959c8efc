from fx_mm.models.adapters.base import GROUP, Adapter
from fx_mm.models.adapters.kind_norms import KindNorms
from fx_mm.models.adapters.lora import LoRA

__all__ = ['GROUP', 'Adapter', 'KindNorms', 'LoRA']
