# As supervised.py, four times as long.
_base_ = './supervised.py'
train_cfg = dict(max_cycles=40)
