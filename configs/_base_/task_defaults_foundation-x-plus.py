# Foundation X+ resizes whole images for classification, without a crop.
_base_ = './task_defaults.py'
task_defaults = dict(
    cls=dict(
        train_pipeline=[
            dict(type='LoadXray'),
            dict(type='LoadXrayAnnotations'),
            dict(
                type='mmdet.Resize',
                scale='img_size',
                keep_ratio=False,
                interpolation='area',
            ),
            dict(type='mmdet.RandomFlip', prob='flip_prob'),
            dict(
                type='mmdet.Rotate',
                prob=1.0,
                max_mag=7.0,
                img_border_value=0,
            ),
            dict(type='PackXray'),
        ]
    )
)
