# A number per image: the cardiothoracic ratio of hospital C, with its labels.
_base_ = './foundation-x_tiny_phantom.py'
tasks = ['phantom_c/cls', 'phantom_c/reg']
task_defaults = dict(reg={{_base_.task_defaults.cls}})
model = dict(
    student=dict(
        regression=dict(
            type='RegressionBranch',
            stages=(1, 2, 3),
            pool='avg+max',
            head_norm=True,
        ),
    ),
)
cycle = dict(max_batches=dict(cls=30, reg=60))
train_cfg = dict(max_cycles=12, val_interval=3)
optim_wrapper = dict(
    clip_grad=dict(reg=dict(max_norm=1.0)),
)
