# The paper's schedule: 3000 visits of 20 tasks are 150 cycles.
cycle = dict(order='cyclic', lock='paper', lock_data_ratio=0.5)
train_cfg = dict(type='CyclicTrainLoop', max_cycles=150, val_interval=1)
val_cfg = dict(type='MultiTaskValLoop')
test_cfg = dict(type='MultiTaskTestLoop')
optim_wrapper = dict(
    type='MultiTaskOptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(loc=dict(max_norm=0.1)),
)
param_scheduler = [dict(type='CycleCosineLR', warmup_cycles=1)]
custom_hooks = [
    dict(type='LockReleaseHook'),
    dict(type='MeanTeacherHook', decay=0.8),
    dict(type='PredictionSheetHook'),
]
