# Lung, heart and clavicle of JSRT.
_base_ = ['../_base_/finetune_swin-b.py', '../_base_/datasets/jsrt.py']
datasets = dict(jsrt={{_base_.jsrt}})
task_defaults = dict(seg=dict(batch_size=8))
default_hooks = dict(checkpoint=dict(save_best='jsrt/seg/Dice_pos'))
