# Ark+ (Nature 2025): images are resized first; the teacher sees the whole
# image, the student a crop of it.
_base_ = './task_defaults_ark.py'
task_defaults = dict(
    cls=dict(
        img_size=768,
        resize_size=896,
        batch_size=50,
        train_pipeline=[
            dict(type='LoadXray'),
            dict(type='LoadXrayAnnotations'),
            dict(
                type='mmdet.Resize',
                scale='resize_size',
                keep_ratio=False,
                interpolation='area',
            ),
            dict(
                type='TeacherView',
                transforms=[
                    dict(
                        type='mmdet.Resize',
                        scale='img_size',
                        keep_ratio=False,
                        interpolation='area',
                    )
                ],
            ),
            dict(type='RandomResizedCrop', scale='img_size'),
            dict(type='ShiftScaleRotate', border='reflect'),
            dict(
                type='RandomApply',
                prob=0.3,
                transforms=[
                    dict(
                        type='RandomChoice',
                        transforms=[
                            [dict(type='RandomBrightnessContrast', prob=1.0)],
                            [dict(type='RandomGamma', prob=1.0)],
                        ],
                    )
                ],
            ),
            dict(type='PackXray'),
        ],
    )
)
