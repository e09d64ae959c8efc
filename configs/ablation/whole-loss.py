# The task loss counts whole beside the consistency loss, not half.
_base_ = './foundation-x.py'
task_defaults = dict(
    cls=dict(loss_weight=2.0),
    loc=dict(loss_weight=2.0),
    seg=dict(loss_weight=2.0),
)
