# The light model of docs/federated.md#injection: half as wide as the central
# one, trained in three hospitals that share no image.
_base_ = '../study/fedavg.py'
model = dict(student=dict(backbone=dict(embed_dims=16)))
train_cfg = dict(max_cycles=24)
