# Hospital C alone.
_base_ = './central.py'
tasks = ['phantom_c/cls', 'phantom_c/loc', 'phantom_c/seg']
