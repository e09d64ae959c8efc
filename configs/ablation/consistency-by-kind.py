# Labels and boxes keep the consistency loss, masks learn half as much of it.
_base_ = './foundation-x.py'
model = dict(
    consistency_weight=dict(_delete_=True, cls=0.5, loc=0.5, seg=0.25)
)
