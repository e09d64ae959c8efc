# What the targets of fine-tuning share. All weights but the target's own part
# come from load_from: a checkpoint of Foundation X.
_base_ = [
    './models/foundation-x_swin-b.py',
    './schedules/finetune_200c.py',
    './task_defaults.py',
    './default_runtime.py',
]
model = dict(consistency_weight=0, student=dict(backbone=dict(init_cfg=None)))
load_from = 'checkpoints/foundation-x_swin-b.pth'
