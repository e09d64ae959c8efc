# The central model of docs/federated.md#injection: trained on public labels.
_base_ = '../../scaling/labels_nih14.py'
cycle = dict(max_batches=dict(cls=40))
train_cfg = dict(max_cycles=20)
test_cfg = dict(predict_on=['teacher'])
