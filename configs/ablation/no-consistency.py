# The teacher is a moving average that is tested, but teaches nothing.
_base_ = './foundation-x.py'
model = dict(consistency_weight=0.0)
