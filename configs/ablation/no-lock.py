# Everything learns in every step; as many steps of each task as the base.
_base_ = './foundation-x.py'
cycle = dict(lock='none', max_batches=dict(loc=18, seg=30))
