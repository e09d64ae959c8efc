"""What all tests share."""

import os

import torch

# The tests' tensors are small: a second thread mostly waits, above all where
# other programs use the cores.
torch.set_num_threads(1)

# Flushing guards against a power cut, which no test can make, and a busy disk
# takes up to 20 s for it. Processes that tests start do flush.
os.fsync = lambda descriptor: None
