# All tasks at once, each with as many steps as in sequential.py.
_base_ = '../ablation/foundation-x.py'
test_cfg = dict(predict_on='teacher')
