# Ark+ (Nature 2025): Swin-L, 768 px. The released weights are those after 50
# epochs; here the schedules end there.
_base_ = [
    '../_base_/ark_6-datasets.py',
    '../_base_/models/ark_swin-l-768.py',
    '../_base_/schedules/ark_200c.py',
    '../_base_/task_defaults_ark-plus.py',
    '../_base_/default_runtime.py',
]
# AUC over all 14 classes, unlike Foundation X.
datasets = dict(
    mimic_cxr=dict(tasks=dict(cls=dict(metric=dict(classes=None))))
)
train_cfg = dict(max_cycles=50)
