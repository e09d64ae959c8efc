# A small model for 128 px phantoms on a CPU. No norm mixes hospitals:
# LayerNorm and GroupNorm only.
model = dict(
    type='MeanTeacher',
    consistency_weight=0.5,
    data_preprocessor=dict(type='TaskDataPreprocessor'),
    student=dict(
        type='FoundationX',
        backbone=dict(
            type='FusedSwinTransformer',
            embed_dims=32,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            window_size=4,
            drop_path_rate=0.1,
        ),
        # What lets labels alone teach a backbone that starts from nothing:
        # see configs/phantom/README.md.
        classification=dict(
            type='ClassificationBranch',
            stages=(1, 2, 3),
            pool='avg+max',
            head_norm=True,
        ),
        localization=dict(
            type='LocalizationBranch',
            num_queries=30,
            neck=dict(
                out_channels=64,
                num_outs=3,
                norm_cfg=dict(type='GN', num_groups=8),
            ),
            encoder=dict(
                num_layers=1,
                layer_cfg=dict(
                    self_attn_cfg=dict(num_heads=4, num_points=2),
                    ffn_cfg=dict(feedforward_channels=128),
                ),
            ),
            decoder=dict(
                num_layers=2,
                layer_cfg=dict(
                    self_attn_cfg=dict(num_heads=4),
                    cross_attn_cfg=dict(num_heads=4, num_points=2),
                    ffn_cfg=dict(feedforward_channels=128),
                ),
            ),
            dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
            test_cfg=dict(max_per_img=30),
        ),
        segmentation=dict(
            type='SegmentationBranch',
            # Findings are rare and small beside the organs: in the pooled
            # Dice of the paper they do not count.
            loss=dict(
                type='SoftDiceLoss', per_channel=True, present_only=True
            ),
            bce_weight=1.0,
            decoder=dict(
                type='PyramidDecoder',
                channels=32,
                pool_channels=32,
                ppm_channels=64,
                dropout=0.0,
                norm_cfg=dict(type='GN', num_groups=8),
            ),
        ),
    ),
)
