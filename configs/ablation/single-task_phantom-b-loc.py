# phantom_b/loc alone; as many steps of it as the base.
_base_ = './no-lock.py'
tasks = ['phantom_b/loc']
model = dict(consistency_weight=0.0)
test_cfg = dict(predict_on=['student'])
