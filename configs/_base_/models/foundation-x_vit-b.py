# Foundation X with RAD-DINO's ViT-B: patches of 14 px, 518 px, DINOv2 of
# chest X-rays. Boxes see the maps of strides 7, 14 and 28 px.
_base_ = './foundation-x_swin-b.py'
__grey = dict(mean=0.5307 * 255, std=0.2583 * 255)
model = dict(
    data_preprocessor=dict(normalize=dict(cls=__grey, loc=__grey, seg=__grey)),
    student=dict(
        backbone=dict(
            _delete_=True,
            type='PyramidViT',
            vit=dict(
                type='PlainViT',
                arch='base',
                patch_size=14,
                img_size=518,
                layer_scale_init_value=1.0,
                drop_path_rate=0.1,
                with_cp=True,
            ),
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://huggingface.co/microsoft/rad-dino/'
                'resolve/main/model.safetensors',
            ),
        )
    ),
)
