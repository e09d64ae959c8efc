# Tasks alternate from step to step instead of pass by pass.
_base_ = './foundation-x.py'
cycle = dict(order='concurrent')
