# Labels of three phantom hospitals, equally many steps whatever the share: the
# supervised arm of the study in docs/scaling.md.
_base_ = '../ablation/no-lock.py'
tasks = ['phantom_a/cls', 'phantom_b/cls', 'phantom_c/cls']
cycle = dict(min_batches=20)
train_cfg = dict(max_cycles=10)
# what the study does not look at
test_cfg = dict(predict_on=['teacher'], tasks=['phantom_a/cls'])
