# Masked images of the three phantom hospitals, as many steps as
# supervised.py: an arm of the study in docs/scaling.md.
_base_ = '../ssl/masked-images_tiny_phantom.py'
phantom = dict(
    root='data/phantom_64',
    counts=dict(train=1600, val=8, test=400),
    size=64,
)
datasets = dict(
    phantom_a=dict(data_root='data/phantom_64/easy/hospital_a/'),
    phantom_b=dict(data_root='data/phantom_64/easy/hospital_b/'),
    phantom_c=dict(data_root='data/phantom_64/easy/hospital_c/'),
)
task_defaults = dict(ssl=dict(img_size=64))
# 64 squares, as at 128 px.
model = dict(
    student=dict(
        backbone=dict(depths=(1, 1, 2, 1)), self_supervision=dict(cell=8)
    )
)
cycle = dict(max_batches=dict(ssl=20), min_batches=20)
loader = dict(num_workers=0)
train_cfg = dict(max_cycles=10)
val_cfg = None
# what the study does not look at
test_cfg = dict(tasks=['phantom_a/ssl'])
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=1))
