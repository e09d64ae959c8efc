# A target of the study in docs/scaling.md: masks of phantoms in JSRT's layout,
# at 64 px. The last weights are tested.
_base_ = '../finetune/foundation-x_tiny_jsrt.py'
train_cfg = dict(max_cycles=10)
