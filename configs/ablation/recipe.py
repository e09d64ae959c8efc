# The joint model that gives up the least: no lock passes, AdamW's averages for
# each task kind, and each batch's gradient at the same norm.
_base_ = './no-lock.py'
optim_wrapper = dict(
    state_by_kind=True,
    clip_grad={kind: dict(max_norm=0.1) for kind in ('cls', 'loc', 'seg')},
)
