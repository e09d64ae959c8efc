# No consistency loss, but the task loss counts half, as beside one.
_base_ = './no-consistency.py'
task_defaults = dict(
    cls=dict(loss_weight=0.5),
    loc=dict(loss_weight=0.5),
    seg=dict(loss_weight=0.5),
)
