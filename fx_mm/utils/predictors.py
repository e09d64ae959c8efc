"""Which model predicts."""

PREDICTORS = ('teacher', 'student')
"""The moving average, and what learns by gradient."""
