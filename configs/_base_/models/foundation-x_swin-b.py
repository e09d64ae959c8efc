# Foundation X, Swin-B at 224 px: DINO with 4 scales, 900 queries; pyramid
# pooling (1, 2, 4, 6) and FPN. Every value that is not here is the paper's
# by default.
# The backbone starts from ImageNet-22k. The paper's starts from the Ark-6
# teacher, whose weights are handed out on request only.
model = dict(
    type='MeanTeacher',
    consistency_weight=0.5,
    data_preprocessor=dict(type='TaskDataPreprocessor'),
    student=dict(
        type='FoundationX',
        backbone=dict(
            type='FusedSwinTransformer',
            embed_dims=128,
            depths=(2, 2, 18, 2),
            num_heads=(4, 8, 16, 32),
            window_size=7,
            drop_path_rate=0.2,
            convert_weights=True,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://github.com/SwinTransformer/storage/'
                'releases/download/v1.0.0/'
                'swin_base_patch4_window7_224_22k.pth',
            ),
        ),
        classification=dict(type='ClassificationBranch'),
        localization=dict(
            type='LocalizationBranch',
            num_queries=900,
            neck=dict(out_channels=256, num_outs=4),
            encoder=dict(num_layers=6),
            decoder=dict(num_layers=6),
            test_cfg=dict(max_per_img=300),
            encoder_l2=1e-4,
        ),
        segmentation=dict(
            type='SegmentationBranch',
            decoder=dict(type='PyramidDecoder', pool_scales=(1, 2, 4, 6)),
            loss=dict(type='SoftDiceLoss', smooth=1.0),
        ),
    ),
)
