# The same with 5 % of the earlier stages' images, in half of the steps.
_base_ = './sequential.py'
continual = dict(rehearsal=dict(share=0.05, ratio=0.5))
