# Overfit a handful of real X-rays: proves the chain on real files.
# Augmentation, DropPath, lock passes and teacher are off; the same few images
# train and test. Set FX_MM_REAL_DATA to the folder that holds them.
_base_ = [
    '../_base_/datasets/real_nih.py',
    '../_base_/datasets/real_tbx11k.py',
    '../_base_/datasets/real_lungs.py',
    '../_base_/models/foundation-x_swin-tiny-phantom.py',
    '../_base_/schedules/foundation-x_150c.py',
    '../_base_/default_runtime.py',
]
datasets = dict(
    real_nih={{_base_.real_nih}},
    real_tbx11k={{_base_.real_tbx11k}},
    real_lungs={{_base_.real_lungs}},
)
tasks = ['real_nih/cls', 'real_tbx11k/loc', 'real_lungs/seg']
__pipeline = [
    dict(type='LoadXray'),
    dict(type='LoadXrayAnnotations'),
    dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
    dict(type='PackXray'),
]
__test = [
    dict(type='LoadXray'),
    dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
    dict(type='LoadXrayAnnotations'),
    dict(type='PackXray'),
]
task_defaults = dict(
    cls=dict(
        img_size=128,
        batch_size=2,
        train_pipeline=__pipeline,
        test_pipeline=__test,
    ),
    loc=dict(
        img_size=128,
        batch_size=3,
        train_pipeline=__pipeline,
        test_pipeline=__test,
    ),
    seg=dict(
        img_size=128,
        batch_size=4,
        train_pipeline=__pipeline,
        test_pipeline=__test,
    ),
)
report = 'test'
cycle = dict(lock='none')
loader = dict(num_workers=0)
train_cfg = dict(max_cycles=500, val_interval=1000)
model = dict(
    consistency_weight=0.0, student=dict(backbone=dict(drop_path_rate=0.0))
)
custom_hooks = [dict(type='LockReleaseHook'), dict(type='PredictionSheetHook')]
default_hooks = dict(checkpoint=dict(interval=500))
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.0),
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={'classification.heads': dict(lr_mult=20.0)},
    ),
    clip_grad=dict(
        _delete_=True,
        cls=dict(max_norm=1.0),
        loc=dict(max_norm=1.0),
        seg=dict(max_norm=1.0),
    ),
)
