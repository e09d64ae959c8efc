# Low-rank additions to the shared backbone for each task kind.
_base_ = './foundation-x.py'
model = dict(student=dict(adapter=dict(type='KindLoRA', rank=8, alpha=16)))
