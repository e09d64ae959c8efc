# Ark-6 (MICCAI 2023): Swin-B, 224 px, image labels of six datasets.
_base_ = [
    '../_base_/ark_6-datasets.py',
    '../_base_/models/ark_swin-b.py',
    '../_base_/schedules/ark_200c.py',
    '../_base_/task_defaults_ark.py',
    '../_base_/default_runtime.py',
]
# AUC over all 14 classes, unlike Foundation X.
datasets = dict(
    mimic_cxr=dict(tasks=dict(cls=dict(metric=dict(classes=None))))
)
