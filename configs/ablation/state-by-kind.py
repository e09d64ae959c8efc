# AdamW's running averages are kept apart for labels, boxes and masks.
_base_ = './foundation-x.py'
optim_wrapper = dict(state_by_kind=True)
