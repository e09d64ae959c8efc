# For the study in docs/transfer.md: as foundation-x_tiny_jsrt_lora.py, but
# four experts of rank 2, as many values as one of rank 8, and a gate.
_base_ = './foundation-x_tiny_jsrt.py'
model = dict(
    student=dict(adapter=dict(type='LoRAMixture', experts=4, rank=2, alpha=4))
)
