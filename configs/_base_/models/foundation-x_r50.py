# Foundation X with mmdet's ResNet-50 from ImageNet-1k. Its stages end in
# BatchNorm, so the branches add no norms; they use its fixed statistics.
_base_ = './foundation-x_swin-b.py'
model = dict(
    student=dict(
        backbone=dict(
            _delete_=True,
            type='mmdet.ResNet',
            depth=50,
            norm_eval=True,
            init_cfg=dict(
                type='Pretrained', checkpoint='torchvision://resnet50'
            ),
        ),
        classification=dict(norm_cfg=None),
        localization=dict(norm_cfg=None),
    )
)
