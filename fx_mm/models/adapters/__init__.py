from fx_mm.models.adapters.lora import GROUP, LoRA

__all__ = ['GROUP', 'LoRA']
