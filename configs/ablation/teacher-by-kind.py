# The teacher follows passes over masks faster than others.
_base_ = './foundation-x.py'
custom_hooks = [
    dict(type='LockReleaseHook'),
    dict(type='MeanTeacherHook', decay=dict(cls=0.8, loc=0.8, seg=0.5)),
    dict(type='PredictionSheetHook'),
]
