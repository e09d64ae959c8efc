# Ark's student view: crop, rotation by 10 degrees, shift by 1/16, and now and
# then another brightness or contrast; no flip. The teacher sees the same
# image; the test has one view instead of ten crops.
task_defaults = dict(
    cls=dict(
        img_size=224,
        batch_size=200,
        train_pipeline=[
            dict(type='LoadXray'),
            dict(type='LoadXrayAnnotations'),
            dict(type='mmpretrain.RandomResizedCrop', scale='img_size'),
            dict(type='mmdet.Rotate', prob=0.5, max_mag=10.0),
            dict(type='mmdet.TranslateX', prob=0.5, max_mag=0.0625),
            dict(type='mmdet.TranslateY', prob=0.5, max_mag=0.0625),
            dict(type='mmdet.Brightness', prob=0.15, min_mag=0.8, max_mag=1.2),
            dict(type='mmdet.Contrast', prob=0.15, min_mag=0.8, max_mag=1.2),
            dict(type='PackXray'),
        ],
        test_pipeline=[
            dict(type='LoadXray'),
            dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
            dict(type='LoadXrayAnnotations'),
            dict(type='PackXray'),
        ],
    )
)
