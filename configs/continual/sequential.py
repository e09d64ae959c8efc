# Phantom hospitals a, b and c arrive one after the other, and nothing is done
# about forgetting: the base of the comparison in docs/continual.md.
_base_ = '../ablation/foundation-x.py'
tasks = None
continual = dict(
    stages=[
        ['phantom_a/cls'],
        ['phantom_b/cls', 'phantom_b/loc'],
        ['phantom_c/seg'],
    ],
)
# Of each stage.
train_cfg = dict(max_cycles=20)
test_cfg = dict(predict_on='teacher')
