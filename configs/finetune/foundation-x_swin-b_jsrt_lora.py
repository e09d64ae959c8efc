# Lung, heart and clavicle of JSRT by an adapter: see README.md.
_base_ = './foundation-x_swin-b_jsrt.py'
model = dict(student=dict(adapter=dict(type='LoRA', rank=8, alpha=16)))
