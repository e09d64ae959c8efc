# The demo with masked images as three more tasks of the cycle: their lock
# pass teaches the head, their release pass the backbone too, and the teacher
# sees the whole image.
_base_ = './masked-images_tiny_phantom.py'
tasks = [
    'phantom_a/ssl',
    'phantom_a/cls',
    'phantom_b/ssl',
    'phantom_b/cls',
    'phantom_b/loc',
    'phantom_c/ssl',
    'phantom_c/cls',
    'phantom_c/loc',
    'phantom_c/seg',
]
model = dict(consistency_weight=0.5)
cycle = dict(lock='paper')
train_cfg = dict(max_cycles=24, val_interval=6)
custom_hooks = [
    dict(type='LockReleaseHook'),
    dict(type='MeanTeacherHook', decay=0.8),
    dict(type='PredictionSheetHook'),
]
