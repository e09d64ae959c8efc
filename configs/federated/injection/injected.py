# As mixture.py, and the hospitals' light model gates the experts and is
# distilled into them.
_base_ = './mixture.py'
model = dict(
    student=dict(
        adapter=dict(
            type='GuidedMixture',
            guide=dict(
                type='FusedSwinTransformer',
                embed_dims=16,
                depths=(1, 1, 2, 1),
                num_heads=(1, 2, 4, 8),
                window_size=4,
                init_cfg=dict(
                    type='Pretrained',
                    checkpoint='work_dirs/light/merged.pth',
                ),
            ),
        )
    )
)
