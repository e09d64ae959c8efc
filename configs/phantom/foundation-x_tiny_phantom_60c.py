# The demo's model and data with four times its steps, under 90 minutes.
_base_ = './foundation-x_tiny_phantom.py'
cycle = dict(max_batches=dict(cls=25, loc=60, seg=40))
train_cfg = dict(max_cycles=60, val_interval=10)
