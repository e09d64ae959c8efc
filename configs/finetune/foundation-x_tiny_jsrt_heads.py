# For the study in docs/transfer.md: as foundation-x_tiny_jsrt.py, but the
# last layer learns alone.
_base_ = './foundation-x_tiny_jsrt.py'
cycle = dict(lock='heads')
