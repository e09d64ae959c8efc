"""What all tests share."""

import torch

# The tests' tensors are small: a second thread mostly waits, above all where
# other programs use the cores.
torch.set_num_threads(1)
