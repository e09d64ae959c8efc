# Foundation X with a Swin-L for 768 px. Window 12 divides all its maps, so
# weights of 384 px load as they are; these are of ImageNet-22k. Activations
# are recomputed in the backward pass, as the authors do.
_base_ = './foundation-x_swin-b.py'
model = dict(
    student=dict(
        backbone=dict(
            embed_dims=192,
            num_heads=(6, 12, 24, 48),
            window_size=12,
            with_cp=True,
            init_cfg=dict(
                checkpoint='https://github.com/SwinTransformer/storage/'
                'releases/download/v1.0.0/'
                'swin_large_patch4_window12_384_22k.pth'
            ),
        )
    )
)
