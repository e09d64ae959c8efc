"""What is counted of a step on a GPU, with a stand-in for CUDA."""

import warnings

import pytest
import torch

from fx_mm.analysis import step_timing
from fx_mm.analysis.gpu_check.process import best_method


def test_times_include_what_the_gpu_still_does(case, cuda):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        step_timing.measure(dict(only=case), 1, 0)
    assert cuda == ['begin', ('synchronize',), 'step', ('synchronize',)]


def test_peak_memory(case, cuda):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert step_timing.peak_memory(case) == 3
    assert cuda[:3] == ['begin', ('reset_peak_memory_stats',), 'step']


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_forks_that_cannot_use_the_gpu():
    assert best_method('cuda') == 'spawn'
    assert best_method('cpu') == 'fork'
