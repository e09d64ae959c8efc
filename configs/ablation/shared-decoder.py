# One localization decoder for all datasets, as in Foundation X+.
_base_ = './foundation-x.py'
model = dict(
    student=dict(localization=dict(decoder='shared', queries='per_task'))
)
