# The hospitals arrive one after the other, and nothing is done about
# forgetting: the base of the comparison in docs/continual.md.
_base_ = './joint.py'
tasks = None
continual = dict(
    stages=[['phantom_a/cls'], ['phantom_b/cls'], ['phantom_c/seg']]
)
