# Where gradients of an update's tasks point against each other, that part is
# removed (PCGrad, https://arxiv.org/abs/2001.06782).
_base_ = './concurrent_accumulated.py'
optim_wrapper = dict(aggregator='PCGrad')
