# The same with a method that needs no old image.
_base_ = './sequential.py'
continual = dict(method=dict(type='EWC', weight=100.0, images=100))
