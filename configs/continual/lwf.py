# The same with a method that needs no old image.
_base_ = './sequential.py'
continual = dict(method=dict(type='LwF', weight=1.0))
