# Masks from 12 annotated images and the teacher's masks of 3000 others of
# the same hospital. Drop 'phantom_rest/seg' for the 12 alone.
_base_ = '../phantom/foundation-x_tiny_phantom.py'
datasets = dict(
    phantom_c=dict(tasks=dict(seg=dict(few_shot=dict(n=12)))),
    phantom_rest=dict(
        data_root='data/phantom/easy/hospital_c/',
        img_dir='images/',
        tasks=dict(
            seg=dict(pseudo='phantom_c/seg', splits=dict(train='train.csv')),
        ),
    ),
)
tasks = ['phantom_c/seg', 'phantom_rest/seg']
# 12 images are 2 batches; as many steps for them as for the others.
cycle = dict(min_batches=30, max_batches=dict(seg=30))
train_cfg = dict(max_cycles=24, val_interval=3)
custom_hooks = [
    dict(type='LockReleaseHook'),
    dict(type='MeanTeacherHook', decay=0.8),
    dict(type='PredictionSheetHook'),
    dict(type='PseudoLabelHook'),
]
