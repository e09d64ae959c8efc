# Twenty ribs of VinDr-RibCXR.
_base_ = ['../_base_/finetune_swin-b.py', '../_base_/datasets/vindr_ribcxr.py']
datasets = dict(vindr_ribcxr={{_base_.vindr_ribcxr}})
task_defaults = dict(seg=dict(batch_size=8))
default_hooks = dict(checkpoint=dict(save_best='vindr_ribcxr/seg/Dice_pos'))
