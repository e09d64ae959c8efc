# Ark+ (Nature 2025), Swin-L at 768 px, window 12: cross-entropy for exclusive
# classes.
_base_ = './ark_swin-b.py'
model = dict(
    student=dict(
        backbone=dict(
            embed_dims=192,
            num_heads=(6, 12, 24, 48),
            window_size=12,
            with_cp=True,
            shift_last_stage=True,
            init_cfg=dict(
                checkpoint='https://github.com/SwinTransformer/storage/'
                'releases/download/v1.0.0/'
                'swin_large_patch4_window12_384_22kto1k.pth'
            ),
        ),
        classification=dict(multi_class_loss='softmax'),
    )
)
