# Pneumothorax by image labels: 25 cycles at one rate for all weights, as the
# authors' script has it (which runs SGD).
_base_ = ['../_base_/finetune_swin-b.py', '../_base_/datasets/candid_ptx.py']
datasets = dict(candid_ptx={{_base_.candid_ptx}})
tasks = ['candid_ptx/cls']
train_cfg = dict(max_cycles=25, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(lr=1e-5),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.0))),
)
default_hooks = dict(checkpoint=dict(save_best='candid_ptx/cls/AUC'))
