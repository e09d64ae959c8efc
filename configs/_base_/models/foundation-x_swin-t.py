# Foundation X with a Swin-T from ImageNet-1k.
_base_ = './foundation-x_swin-b.py'
model = dict(
    student=dict(
        backbone=dict(
            embed_dims=96,
            depths=(2, 2, 6, 2),
            num_heads=(3, 6, 12, 24),
            init_cfg=dict(
                checkpoint='https://github.com/SwinTransformer/storage/'
                'releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth'
            ),
        )
    )
)
