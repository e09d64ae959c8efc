# Fine-tuning on one data set. cycle.lock says what learns: 'none' everything,
# 'heads' the task's own part, 'paper' (labels: 'plus') both in turn.
# A pass over few images walks them again until it has 20 steps.
cycle = dict(order='cyclic', lock='none', lock_data_ratio=0.5, min_batches=20)
train_cfg = dict(type='CyclicTrainLoop', max_cycles=200, val_interval=5)
val_cfg = dict(type='MultiTaskValLoop')
test_cfg = dict(type='MultiTaskTestLoop', predict_on=['teacher'])
optim_wrapper = dict(
    type='MultiTaskOptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(loc=dict(max_norm=0.1)),
)
param_scheduler = [dict(type='CycleCosineLR', warmup_cycles=10)]
custom_hooks = [
    dict(type='LockReleaseHook'),
    # No average of weights: the teacher is the student's copy.
    dict(type='MeanTeacherHook', decay=0.0),
    dict(type='PredictionSheetHook'),
]
