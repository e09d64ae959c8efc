# A number per image: the cardiothoracic ratio of hospital C, in a few minutes.
_base_ = './foundation-x_tiny_phantom.py'
tasks = ['phantom_c/reg']
__load = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
__resize = dict(
    type='mmdet.Resize',
    scale='img_size',
    keep_ratio=False,
    interpolation='area',
)
task_defaults = dict(
    reg=dict(
        # Widths of heart and thorax need no more.
        img_size=64,
        batch_size=32,
        tta='flip',
        train_pipeline=[
            *__load,
            dict(type='mmdet.RandomFlip', prob=0.5),
            dict(
                type='mmdet.Rotate', prob=0.5, max_mag=10.0, img_border_value=0
            ),
            __resize,
            dict(type='PackXray'),
        ],
        test_pipeline=[
            *__load[:1],
            __resize,
            *__load[1:],
            dict(type='PackXray'),
        ],
    ),
)
model = dict(
    student=dict(
        # From nothing, convolutions learn this in fewer steps than windows do.
        backbone=dict(
            _delete_=True,
            type='mmdet.ResNet',
            depth=18,
            base_channels=16,
            norm_cfg=dict(type='GN', num_groups=8),
            norm_eval=False,
        ),
        regression=dict(
            type='RegressionBranch',
            stages=(1, 2, 3),
            pool='avg+max',
            head_norm=True,
        ),
    ),
)
cycle = dict(max_batches=None)
train_cfg = dict(max_cycles=20, val_interval=5)
optim_wrapper = dict(clip_grad=dict(reg=dict(max_norm=1.0)))
