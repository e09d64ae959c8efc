# A lock pass in every second round over the tasks, of as many steps as the
# base's; a cycle here is two rounds, with as many steps as two of the base.
_base_ = './foundation-x.py'
__release = [
    ('phantom_a/cls', 'release'),
    ('phantom_b/cls', 'release'),
    ('phantom_b/loc', 'release'),
    ('phantom_c/seg', 'release'),
]
cycle = dict(
    lock=[
        ('phantom_a/cls', 'release'),
        ('phantom_b/cls', 'release'),
        ('phantom_b/loc', 'lock'),
        ('phantom_b/loc', 'release'),
        ('phantom_c/seg', 'lock'),
        ('phantom_c/seg', 'release'),
        *__release,
    ],
    lock_data_ratio=0.4,
    max_batches=dict(cls=20, loc=15, seg=25),
)
train_cfg = dict(max_cycles=10)
# The mean of the first two rounds of the base.
param_scheduler = [
    dict(type='CycleCosineLR', warmup_cycles=1, start_factor=0.65)
]
