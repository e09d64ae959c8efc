"""What the tests of raw datasets share."""

import numpy as np
import pytest


@pytest.fixture
def mask():
    """A mask of 16x12 pixels."""
    mask = np.zeros((16, 12), bool)
    mask[3:9, 2:7] = True
    return mask
