# The demo's model and data with more than twice its steps, under 90 minutes.
_base_ = './foundation-x_tiny_phantom.py'
cycle = dict(max_batches=dict(cls=20, loc=50, seg=50))
train_cfg = dict(max_cycles=36, val_interval=9)
