# Norms stay at each site.
_base_ = './fedavg.py'
federated = dict(share_norms=False)
