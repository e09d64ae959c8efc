# Defaults of each task kind; a dataset's own entry goes over them.
# `img_size` as a value stands for the task's size.
task_defaults = dict(
    cls=dict(
        img_size=224,
        batch_size=24,
        train_pipeline=[
            dict(type='LoadXray'),
            dict(type='LoadXrayAnnotations'),
            dict(type='mmpretrain.RandomResizedCrop', scale='img_size'),
            dict(type='mmdet.RandomFlip', prob=0.5),
            dict(type='mmdet.Rotate', prob=1.0, max_mag=7.0),
            dict(type='PackXray'),
        ],
        test_pipeline=[
            dict(type='LoadXray'),
            dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
            dict(type='LoadXrayAnnotations'),
            dict(type='PackXray'),
        ],
    ),
    loc=dict(
        img_size=224,
        batch_size=24,
        train_pipeline=[
            dict(type='LoadXray'),
            dict(type='LoadXrayAnnotations'),
            dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
            dict(type='PackXray'),
        ],
        test_pipeline=[
            dict(type='LoadXray'),
            dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
            dict(type='LoadXrayAnnotations'),
            dict(type='PackXray'),
        ],
    ),
    seg=dict(
        img_size=224,
        batch_size=24,
        train_pipeline=[
            dict(type='LoadXray'),
            dict(type='LoadXrayAnnotations'),
            dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
            dict(type='mmdet.Rotate', prob=0.5, max_mag=10.0),
            dict(type='mmdet.Brightness', prob=0.5, min_mag=0.8, max_mag=1.2),
            dict(type='mmdet.Contrast', prob=0.5, min_mag=0.8, max_mag=1.2),
            dict(type='PackXray'),
        ],
        test_pipeline=[
            dict(type='LoadXray'),
            dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
            dict(type='LoadXrayAnnotations'),
            dict(type='PackXray'),
        ],
    ),
)
