# The base of the ablations: Foundation X on phantoms of 64 px, small enough
# for many seeds. Nothing is selected on a validation.
_base_ = '../phantom/foundation-x_tiny_phantom.py'
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
task_defaults = dict(
    cls=dict(img_size=64), loc=dict(img_size=64), seg=dict(img_size=64)
)
cycle = dict(max_batches=dict(cls=12, loc=20, seg=12))
loader = dict(num_workers=0)
train_cfg = dict(max_cycles=3)
val_cfg = None
val_dataloader = None
default_hooks = dict(checkpoint=dict(interval=6, max_keep_ckpts=1))
