# Four batches, mostly of several tasks, make one update.
_base_ = './concurrent.py'
optim_wrapper = dict(accumulative_counts=4)
