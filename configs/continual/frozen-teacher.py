# The same with a method that needs no old image.
_base_ = './sequential.py'
continual = dict(method=dict(type='FrozenTeacher'))
# A frozen teacher's new heads learn nothing.
test_cfg = dict(predict_on='student')
