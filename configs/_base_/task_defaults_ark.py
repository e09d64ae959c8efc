# Ark (MICCAI 2023). The teacher sees the student's crop without its changes
# of grey values. No flip in training.
# Validation and test resize to `resize_size` and average ten crops of
# `img_size`. The paper validates on the centre crop alone, which is
# tta='center_crop'; ten crops for both compare like with like.
task_defaults = dict(
    cls=dict(
        img_size=224,
        resize_size=256,
        batch_size=200,
        tta='ten_crop',
        train_pipeline=[
            dict(type='LoadXray'),
            dict(type='LoadXrayAnnotations'),
            dict(type='RandomResizedCrop', scale='img_size'),
            dict(type='ShiftScaleRotate', border='reflect'),
            dict(type='TeacherView'),
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
        test_pipeline=[
            dict(type='LoadXray'),
            dict(
                type='mmdet.Resize',
                scale='resize_size',
                keep_ratio=False,
                interpolation='area',
            ),
            dict(type='LoadXrayAnnotations'),
            dict(type='PackXray'),
        ],
    )
)
