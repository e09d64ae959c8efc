# All tasks at once, each with as many steps as in sequential.py: three
# phantom hospitals of 64 px, without lock passes, which cost time and helped
# nothing at this size (docs/ablation.md).
_base_ = '../ablation/foundation-x.py'
tasks = ['phantom_a/cls', 'phantom_b/cls', 'phantom_c/seg']
cycle = dict(lock='none', max_batches=dict(cls=20, seg=20))
train_cfg = dict(max_cycles=8)
test_cfg = dict(predict_on='teacher')
