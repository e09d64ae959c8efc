# The base of the ablations: Foundation X on phantoms of 64 px, small enough
# for many seeds. Nothing is selected, so there is no validation.
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
# Each hospital annotates something else.
tasks = ['phantom_a/cls', 'phantom_b/cls', 'phantom_b/loc', 'phantom_c/seg']
task_defaults = dict(
    cls=dict(img_size=64, batch_size=16),
    loc=dict(img_size=64),
    seg=dict(img_size=64),
)
model = dict(student=dict(backbone=dict(depths=(1, 1, 2, 1))))
# A lock pass adds half: 18 steps a cycle for boxes and 30 for masks.
cycle = dict(max_batches=dict(cls=20, loc=12, seg=20))
loader = dict(num_workers=0)
train_cfg = dict(max_cycles=20)
val_cfg = None
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=1))
