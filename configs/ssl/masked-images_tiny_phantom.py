# Pretraining on the images of three phantom hospitals, whatever is noted on
# them: masked images alone, without locks and without a teacher.
_base_ = '../phantom/foundation-x_tiny_phantom.py'
__images = dict(splits=dict(train='train.csv', val='val.csv', test='test.csv'))
datasets = dict(
    phantom_a=dict(tasks=dict(ssl=__images)),
    phantom_b=dict(tasks=dict(ssl=__images)),
    phantom_c=dict(tasks=dict(ssl=__images)),
)
tasks = ['phantom_a/ssl', 'phantom_b/ssl', 'phantom_c/ssl']
__resize = dict(
    type='mmdet.Resize',
    scale='img_size',
    keep_ratio=False,
    interpolation='area',
)
task_defaults = dict(
    ssl=dict(
        img_size=128,
        batch_size=32,
        train_pipeline=[
            dict(type='LoadXray'),
            dict(
                type='RandomResizedCrop',
                scale='img_size',
                crop_ratio_range=(0.67, 1.0),
            ),
            dict(type='mmdet.RandomFlip', prob=0.5),
            dict(type='PackXray'),
        ],
        test_pipeline=[
            dict(type='LoadXray'),
            __resize,
            dict(type='PackXray'),
        ],
    ),
)
model = dict(
    consistency_weight=0,
    # 64 squares of 16 px; the paper's 32 px would be 16 squares.
    student=dict(self_supervision=dict(type='MaskedImageBranch', cell=16)),
)
cycle = dict(lock='none', max_batches=dict(ssl=30))
train_cfg = dict(max_cycles=10, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05, betas=(0.9, 0.999)),
    paramwise_cfg=dict(custom_keys=dict(mask_token=dict(decay_mult=0.0))),
    clip_grad=dict(ssl=dict(max_norm=5.0)),
)
custom_hooks = [dict(type='PredictionSheetHook', stages=('val', 'test'))]
