# One localization decoder for all datasets, as in Foundation X+.
_base_ = './foundation-x.py'
model = dict(
    student=dict(localization=dict(share_decoder=True, queries='per_task'))
)
