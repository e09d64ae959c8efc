# Defaults of each task kind; a dataset's own entry goes over them.
# As a transform's value, `img_size` and `flip_prob` stand for the task's own.
# A flip swaps left and right, so it is off where a dataset does not ask.
__load = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
__resize = dict(
    type='mmdet.Resize',
    scale='img_size',
    keep_ratio=False,
    interpolation='area',
)
__flip = dict(type='mmdet.RandomFlip', prob='flip_prob')
__pack = dict(type='PackXray')
# The truth stays at the size of the original.
__test = [
    dict(type='LoadXray'),
    __resize,
    dict(type='LoadXrayAnnotations'),
    __pack,
]
task_defaults = dict(
    cls=dict(
        img_size=224,
        batch_size=24,
        flip_prob=0.5,
        train_pipeline=[
            *__load,
            dict(type='RandomResizedCrop', scale='img_size'),
            __flip,
            dict(
                type='mmdet.Rotate',
                prob=1.0,
                max_mag=7.0,
                img_border_value=0,
            ),
            __pack,
        ],
        test_pipeline=__test,
    ),
    loc=dict(
        img_size=224,
        batch_size=24,
        flip_prob=0.0,
        train_pipeline=[*__load, __resize, __flip, __pack],
        test_pipeline=__test,
    ),
    seg=dict(
        img_size=224,
        batch_size=24,
        flip_prob=0.0,
        train_pipeline=[
            *__load,
            __resize,
            __flip,
            dict(type='ShiftScaleRotate', border='reflect'),
            dict(type='RandomBrightnessContrast'),
            __pack,
        ],
        test_pipeline=__test,
    ),
    # Sizes are measured: no crop, no zoom.
    reg=dict(
        img_size=224,
        batch_size=24,
        flip_prob=0.0,
        train_pipeline=[
            *__load,
            __resize,
            __flip,
            dict(
                type='mmdet.Rotate',
                prob=1.0,
                max_mag=7.0,
                img_border_value=0,
            ),
            __pack,
        ],
        test_pipeline=__test,
    ),
    ssl=dict(
        img_size=224,
        batch_size=24,
        flip_prob=0.5,
        train_pipeline=[
            __load[0],
            dict(
                type='RandomResizedCrop',
                scale='img_size',
                crop_ratio_range=(0.67, 1.0),
            ),
            __flip,
            __pack,
        ],
        test_pipeline=[__load[0], __resize, __pack],
    ),
    # No flip: reports say left and right.
    report=dict(
        img_size=224,
        batch_size=24,
        train_pipeline=[
            *__load,
            __resize,
            dict(
                type='mmdet.Rotate',
                prob=1.0,
                max_mag=7.0,
                img_border_value=0,
            ),
            __pack,
        ],
        test_pipeline=__test,
    ),
)
