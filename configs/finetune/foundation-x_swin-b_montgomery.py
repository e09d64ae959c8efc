# Lungs of Montgomery.
_base_ = ['../_base_/finetune_swin-b.py', '../_base_/datasets/montgomery.py']
datasets = dict(montgomery={{_base_.montgomery}})
task_defaults = dict(seg=dict(batch_size=8))
default_hooks = dict(checkpoint=dict(save_best='montgomery/seg/Dice_pos'))
