# Shared weights are drawn back to those of the round's start.
_base_ = './fedavg.py'
federated = dict(proximal=0.01)
