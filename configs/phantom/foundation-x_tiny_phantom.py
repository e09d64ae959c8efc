# The demo: three phantom hospitals, six tasks, 15 to 21 minutes on 2 cores.
_base_ = [
    '../_base_/datasets/phantom_a.py',
    '../_base_/datasets/phantom_b.py',
    '../_base_/datasets/phantom_c.py',
    '../_base_/models/foundation-x_swin-tiny-phantom.py',
    '../_base_/schedules/foundation-x_150c.py',
    '../_base_/default_runtime.py',
]
phantom = dict(
    root='data/phantom',
    difficulty='easy',
    counts=dict(train=3000, val=200, test=400),
    size=128,
    seed=0,
)
datasets = dict(
    phantom_a={{_base_.phantom_a}},
    phantom_b={{_base_.phantom_b}},
    phantom_c={{_base_.phantom_c}},
)
tasks = [
    'phantom_a/cls',
    'phantom_b/cls',
    'phantom_b/loc',
    'phantom_c/cls',
    'phantom_c/loc',
    'phantom_c/seg',
]
__load = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
__rotate = dict(
    type='mmdet.Rotate', prob=0.5, max_mag=10.0, img_border_value=0
)
__flip = dict(type='mmdet.RandomFlip', prob=0.5)
__pack = dict(type='PackXray')
__test = [
    dict(type='LoadXray'),
    dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
    dict(type='LoadXrayAnnotations'),
    __pack,
]
task_defaults = dict(
    cls=dict(
        img_size=128,
        batch_size=32,
        train_pipeline=[*__load, __flip, __rotate, __pack],
        test_pipeline=__test,
    ),
    loc=dict(
        img_size=128,
        batch_size=8,
        box_free_share=0.25,
        train_pipeline=[*__load, __flip, __pack],
        test_pipeline=__test,
    ),
    # No flip here: left and right lung are two classes.
    seg=dict(
        img_size=128,
        batch_size=8,
        train_pipeline=[*__load, __rotate, __pack],
        test_pipeline=__test,
    ),
)
report = 'test'
cycle = dict(max_batches=dict(cls=15, loc=40, seg=30))
loader = dict(num_workers=1)
train_cfg = dict(max_cycles=24, val_interval=6)
val_cfg = dict(amp_dtype='bfloat16')
test_cfg = dict(amp_dtype='bfloat16')
# The paper's 1e-5 fine-tunes a pretrained backbone; this one starts from
# nothing.
optim_wrapper = dict(
    amp_dtype='bfloat16',
    optimizer=dict(lr=1e-3, weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        _delete_=True,
        # A head sees only its own dataset's steps, a third of them or fewer.
        custom_keys={'classification.heads': dict(lr_mult=10.0)},
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
    ),
    clip_grad=dict(
        _delete_=True,
        cls=dict(max_norm=1.0),
        loc=dict(max_norm=1.0),
        seg=dict(max_norm=1.0),
    ),
)
param_scheduler = [
    dict(type='CycleCosineLR', warmup_cycles=1, start_factor=0.3)
]
