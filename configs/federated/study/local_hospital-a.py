# Hospital A alone.
_base_ = './central.py'
tasks = ['phantom_a/cls']
