# Foundation X with mmpretrain's ConvNeXt-B from ImageNet-21k.
_base_ = './foundation-x_swin-b.py'
model = dict(
    student=dict(
        backbone=dict(
            _delete_=True,
            type='mmpretrain.ConvNeXt',
            arch='base',
            out_indices=(0, 1, 2, 3),
            gap_before_final_norm=False,
            drop_path_rate=0.2,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://mmassets.onedl.ai/mmclassification/v0/'
                'convnext/convnext-base_3rdparty_in21k_20220124-13b83eec.pth',
            ),
        )
    )
)
