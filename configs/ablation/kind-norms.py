# Weights and biases of the backbone's layer norms for each task kind.
_base_ = './foundation-x.py'
model = dict(student=dict(adapter=dict(type='KindNorms')))
