# Boxes of 14 findings; the paper's curves are flat after about 110 cycles.
_base_ = [
    '../_base_/finetune_swin-b.py',
    '../_base_/datasets/vindr_findings.py',
]
datasets = dict(vindr_findings={{_base_.vindr_findings}})
train_cfg = dict(max_cycles=120)
default_hooks = dict(checkpoint=dict(save_best='vindr_findings/loc/mAP_40'))
