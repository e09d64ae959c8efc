# The demo on a small vision transformer with a feature pyramid.
_base_ = './foundation-x_tiny_phantom.py'
model = dict(
    student=dict(
        backbone=dict(
            _delete_=True,
            type='PyramidViT',
            vit=dict(
                type='PlainViT',
                arch=dict(
                    embed_dims=96,
                    num_layers=6,
                    num_heads=3,
                    feedforward_channels=384,
                ),
                patch_size=16,
                img_size=128,
                drop_path_rate=0.1,
            ),
        )
    )
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
