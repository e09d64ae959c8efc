# For the study in docs/transfer.md: as foundation-x_tiny_jsrt.py, but an
# adapter and the last layer learn. Its base, which load_from names, is a run
# of configs/ablation/foundation-x.py.
_base_ = './foundation-x_tiny_jsrt.py'
model = dict(student=dict(adapter=dict(type='LoRA', rank=8, alpha=16)))
