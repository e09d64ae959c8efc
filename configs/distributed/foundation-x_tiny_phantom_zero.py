# The demo with AdamW's state shared out over the processes (ZeRO, stage 1):
#   tools/dist_train.sh configs/distributed/foundation-x_tiny_phantom_zero.py 2
_base_ = ['../phantom/foundation-x_tiny_phantom.py']
optim_wrapper = dict(
    optimizer=dict(type='ShardedOptimizer', optimizer_type='AdamW')
)
