# Boxes and masks of heart and lungs, jointly (paper, section 4).
_base_ = ['../_base_/finetune_swin-b.py', '../_base_/datasets/vindr_organs.py']
datasets = dict(vindr_organs={{_base_.vindr_organs}})
train_cfg = dict(max_cycles=50)
param_scheduler = [dict(type='CycleCosineLR', warmup_cycles=2)]
# of vindr_organs/loc/mAP_40 and vindr_organs/seg/Dice_pos
default_hooks = dict(checkpoint=dict(save_best='mean'))
