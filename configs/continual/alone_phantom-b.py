# The second stage by itself: what forward transfer is measured against.
_base_ = './joint.py'
tasks = ['phantom_b/cls']
