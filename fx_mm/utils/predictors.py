"""Which model predicts."""

PREDICTORS = ('teacher', 'student')
"""The moving average, and what learns by gradient.

Where nothing else is said, the first of them that there is predicts.
"""
