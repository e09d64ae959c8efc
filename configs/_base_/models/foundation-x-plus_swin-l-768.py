# Foundation X+ with a Swin-L for 768 px.
_base_ = './foundation-x_swin-l-768.py'
model = dict(
    student=dict(
        localization=dict(share_decoder=True, queries='per_task'),
        segmentation=dict(loss=dict(per_channel=True)),
        region_guidance=dict(type='RegionGuidance'),
    )
)
