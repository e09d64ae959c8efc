# The schedule of Foundation X+: 2000 visits of 20 tasks are 100 cycles; every
# task has a lock pass, which leaves only its head and queries to learn.
_base_ = './foundation-x_150c.py'
cycle = dict(lock='plus')
train_cfg = dict(max_cycles=100)
