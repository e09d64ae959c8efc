# No consistency, and the student is tested: the teacher plays no part. Its
# average is kept and tested as well, which is the variant no-consistency.
_base_ = './foundation-x.py'
model = dict(consistency_weight=0.0)
test_cfg = dict(predict_on=['student', 'teacher'])
