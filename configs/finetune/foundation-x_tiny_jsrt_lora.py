# For the study in docs/transfer.md: as foundation-x_tiny_jsrt.py, but an
# adapter and the last layer learn, beside a backbone and a decoder that stay
# as they are.
_base_ = './foundation-x_tiny_jsrt.py'
model = dict(student=dict(adapter=dict(type='LoRA', rank=8, alpha=16)))
# The start: a run of configs/ablation/foundation-x.py.
load_from = 'checkpoints/foundation-x_tiny.pth'
