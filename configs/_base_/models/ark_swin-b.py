# Ark (MICCAI 2023), Swin-B at 224 px: classification alone, behind a linear
# projector; BCE for every dataset. ImageNet's statistics and weights
# (22k, then 1k).
_base_ = './foundation-x_swin-b.py'
model = dict(
    consistency_weight=0.0,  # MeanTeacherHook raises it
    data_preprocessor=dict(
        normalize=dict(
            cls=dict(
                mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
            )
        )
    ),
    student=dict(
        backbone=dict(
            drop_path_rate=0.1,
            # timm's Swin does not shift the windows of a map of one window
            shift_last_stage=False,
            init_cfg=dict(
                checkpoint='https://github.com/SwinTransformer/storage/'
                'releases/download/v1.0.0/'
                'swin_base_patch4_window7_224_22kto1k.pth'
            ),
        ),
        classification=dict(
            projector='linear', projector_dims=1376, multi_class_loss='bce'
        ),
        localization=None,
        segmentation=None,
    ),
)
