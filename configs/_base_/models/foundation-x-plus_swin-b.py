# Foundation X+: one decoder for all datasets, with queries and heads of each;
# predicted boxes guide the segmentation; Dice of each class.
_base_ = './foundation-x_swin-b.py'
model = dict(
    student=dict(
        localization=dict(share_decoder=True, queries='per_task'),
        segmentation=dict(loss=dict(per_channel=True)),
        region_guidance=dict(type='RegionGuidance'),
    )
)
