# Reports of hospital C, beside the labels that they are written from. Best
# begun with weights that know the labels: docs/free_text.md.
# Those of B: tasks = ['phantom_b/cls', 'phantom_b/report', ...].
_base_ = './foundation-x_tiny_phantom.py'
__report = dict(
    classes={{_base_.phantom_c.tasks.cls.classes}},
    splits={s: f'{s}_reports.csv' for s in ('train', 'val', 'test')},
)
phantom = dict(texts=True)
datasets = dict(
    phantom_b=dict(tasks=dict(report=__report)),
    phantom_c=dict(tasks=dict(report=__report)),
)
tasks = ['phantom_c/cls', 'phantom_c/report']
__load = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
__resize = dict(
    type='mmdet.Resize',
    scale='img_size',
    keep_ratio=False,
    interpolation='area',
)
__rotate = dict(
    type='mmdet.Rotate', prob=0.5, max_mag=10.0, img_border_value=0
)
# A few black images teach what is likely where nothing can be seen.
__blank = dict(type='mmdet.Brightness', prob=0.05, min_mag=0.0, max_mag=0.0)
__pack = dict(type='PackXray')
__test = [__load[0], __resize, __load[1], __pack]
task_defaults = dict(
    cls=dict(
        img_size=64,
        train_pipeline=[
            *__load,
            __resize,
            dict(type='mmdet.RandomFlip', prob=0.5),
            __rotate,
            __pack,
        ],
        test_pipeline=__test,
    ),
    # No flip: reports say left and right.
    report=dict(
        img_size=64,
        batch_size=32,
        train_pipeline=[*__load, __resize, __rotate, __blank, __pack],
        test_pipeline=__test,
    ),
)
model = dict(
    # The teacher of before knows less of images than of wordings.
    consistency_weight=dict(_delete_=True, cls=0.5, report=0.0),
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
        reporting=dict(
            type='ReportBranch',
            stages=(1, 2, 3),
            latents=16,
            dims=64,
            heads=4,
            layers=1,
            dropout=0.0,
            vocabulary=400,
            max_tokens=64,
            label_smoothing=0.0,
        ),
    ),
)
# It takes some 400 steps until texts begin to follow the image.
cycle = dict(lock='none', max_batches=dict(cls=30, report=70))
optim_wrapper = dict(
    amp_dtype=None,
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(
        custom_keys={'classification.heads': dict(lr_mult=5.0)}
    ),
    clip_grad=dict(report=dict(max_norm=1.0)),
)
val_cfg = dict(amp_dtype=None)
test_cfg = dict(amp_dtype=None)
