# Each batch's gradient is clipped at a norm that all exceed, so all tasks
# pull alike; AdamW does not see the scale that they have in common.
_base_ = './foundation-x.py'
optim_wrapper = dict(
    clip_grad=dict(
        cls=dict(max_norm=0.01),
        loc=dict(max_norm=0.01),
        seg=dict(max_norm=0.01),
    )
)
