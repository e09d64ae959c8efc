# The same with 5 % of the earlier stages' images, in 3 of 5 steps.
_base_ = './sequential.py'
continual = dict(
    rehearsal=dict(share=0.05, select='balanced', ratio=0.6),
)
