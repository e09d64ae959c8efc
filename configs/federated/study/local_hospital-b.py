# Hospital B alone.
_base_ = './central.py'
tasks = ['phantom_b/cls', 'phantom_b/loc']
