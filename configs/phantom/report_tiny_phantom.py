# Reports of hospitals B and C, beside the labels that they are written from.
_base_ = './foundation-x_tiny_phantom.py'
tasks = [
    'phantom_b/cls',
    'phantom_b/report',
    'phantom_c/cls',
    'phantom_c/report',
]
__load = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
__resize = dict(
    type='mmdet.Resize',
    scale='img_size',
    keep_ratio=False,
    interpolation='area',
)
# No flip: reports say left and right.
task_defaults = dict(
    report=dict(
        img_size=128,
        batch_size=32,
        train_pipeline=[
            *__load,
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
        reporting=dict(
            type='ReportBranch',
            stages=(1, 2, 3),
            latents=16,
            dims=128,
            heads=4,
            layers=2,
            vocabulary=400,
            max_tokens=96,
        ),
    ),
)
cycle = dict(max_batches=dict(cls=15, report=30))
optim_wrapper = dict(clip_grad=dict(report=dict(max_norm=1.0)))
