# All images in one place, which hospitals may not do: what federated
# training would like to reach.
_base_ = '../../ablation/recipe.py'
# Small hospitals: with many images each would need the others less.
phantom = dict(
    root='data/phantom_federated', counts=dict(train=320, val=8, test=400)
)
datasets = dict(
    phantom_a=dict(data_root='data/phantom_federated/easy/hospital_a/'),
    phantom_b=dict(data_root='data/phantom_federated/easy/hospital_b/'),
    phantom_c=dict(data_root='data/phantom_federated/easy/hospital_c/'),
)
# A has labels, B boxes too, C masks too.
tasks = [
    'phantom_a/cls',
    'phantom_b/cls',
    'phantom_b/loc',
    'phantom_c/cls',
    'phantom_c/loc',
    'phantom_c/seg',
]
train_cfg = dict(max_cycles=12)
