"""How long a device is busy."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from fx_mm.analysis import device_time as module
from fx_mm.analysis.device_time import device_time, union


@pytest.mark.parametrize(
    ('spans', 'length'),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(4, 6), (1, 3)], 4),
        ([(1, 5), (2, 3), (4, 7)], 6),
        ([(1, 3), (3, 4)], 3),
    ],
)
def test_what_spans_cover(spans, length):
    assert union(spans) == length


def test_kernels_alone_count(cuda, monkeypatch):
    def event(start, end, device=DeviceType.CUDA, named=False):
        span = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(
            time_range=span, device_type=device, is_user_annotation=named
        )

    events = [
        event(0, 2000),
        event(1000, 3000),
        event(0, 9000, DeviceType.CPU),
        event(0, 9000, named=True),
        event(5000, 6000),
    ]

    @contextmanager
    def profile(activities):
        assert torch.profiler.ProfilerActivity.CUDA in activities
        yield SimpleNamespace(events=lambda: events)

    monkeypatch.setattr(module, 'profile', profile)
    assert device_time((list, list)) == (4, 3)


def test_a_cpu_stands_in():
    found = device_time((list, lambda: torch.ones(300, 300) @ torch.ones(300)))
    assert found.busy > 0 and found.launches > 0
