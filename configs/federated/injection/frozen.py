# Nothing is injected: the central backbone stays as it is, and a decoder of
# masks and its last layer learn beside it.
_base_ = '../../finetune/foundation-x_tiny_jsrt.py'
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.0)))
)
