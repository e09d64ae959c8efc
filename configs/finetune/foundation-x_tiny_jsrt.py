# For the study in docs/transfer.md: phantoms in JSRT's layout at 64 px, on a
# model of configs/ablation/foundation-x.py or from nothing. The last weights
# are tested; nothing is selected.
_base_ = ['../ablation/foundation-x.py', '../_base_/datasets/jsrt.py']
phantom = None
datasets = dict(_delete_=True, jsrt={{_base_.jsrt}})
tasks = ['jsrt/seg']
model = dict(consistency_weight=0)
cycle = dict(lock='none', max_batches=20, min_batches=20)
train_cfg = dict(max_cycles=15)
test_cfg = dict(predict_on=['teacher'])
custom_hooks = [
    dict(type='LockReleaseHook'),
    # No average of weights: the teacher is the student's copy.
    dict(type='MeanTeacherHook', decay=0.0),
    dict(type='PredictionSheetHook'),
]
