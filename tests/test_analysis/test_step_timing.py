"""What is counted of a step on a GPU, with a stand-in for CUDA."""

import contextlib
import warnings
from types import SimpleNamespace

import pytest
import torch

from fx_mm.analysis import step_timing
from fx_mm.analysis.gpu_check.process import best_method

WARNING = 'called a synchronizing CUDA operation (Triggered internally)'


@pytest.fixture
def cuda(monkeypatch):
    """Calls of ``torch.cuda`` in their order."""
    calls = []

    def note(name, result=None):
        def call(*args):
            calls.append((name, *args))
            return result

        monkeypatch.setattr(torch.cuda, name, call)

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    note('synchronize')
    note('reset_peak_memory_stats')
    note('max_memory_allocated', 3 * 2**30)
    note('set_sync_debug_mode')
    return calls


@pytest.fixture
def case(cuda):
    def step():
        cuda.append('step')
        warnings.warn('something else', stacklevel=1)
        for _ in range(2):
            warnings.warn(WARNING, stacklevel=1)

    return lambda: cuda.append('begin'), step


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


def test_places_of_waits(case, cuda):
    ((place, count),) = step_timing.find_waits(case).items()
    assert place.startswith('test_step_timing.py:') and count == 2
    modes = [call[1] for call in cuda if call[0] == 'set_sync_debug_mode']
    assert modes == ['warn', 'default']


@pytest.mark.parametrize(
    ('events', 'total'),
    [
        (dict(cudaLaunchKernel=9), 0),
        (dict(cudaStreamSynchronize=2, cudaEventSynchronize=1), 3),
    ],
)
def test_waits_by_the_profiler(case, monkeypatch, events, total):
    @contextlib.contextmanager
    def profile(activities):
        assert torch.profiler.ProfilerActivity.CUDA in activities
        rows = [SimpleNamespace(key=k, count=n) for k, n in events.items()]
        yield SimpleNamespace(key_averages=lambda: rows)

    monkeypatch.setattr(step_timing, 'profile', profile)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert step_timing.count_waits(case, None)['total'] == total
    events.clear()
    with pytest.raises(RuntimeError, match='saw no call of CUDA'):
        step_timing.count_waits(case, None)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_forks_that_cannot_use_the_gpu():
    assert best_method('cuda') == 'spawn'
    assert best_method('cpu') == 'fork'
