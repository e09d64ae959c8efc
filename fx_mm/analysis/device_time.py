"""How long a device is busy in a step."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from fx_mm.analysis.step_timing import Case
from fx_mm.utils.device import synchronize


class DeviceTime(NamedTuple):
    """What a device does in a step.

    Attributes:
        busy (float): Milliseconds in which it does something.
        launches (int): Kernels and copies.
    """

    busy: float
    launches: int


def device_time(case: Case) -> DeviceTime:
    """Profile a step.

    The profiler makes the host slower, but not a GPU's kernels: compare
    :attr:`DeviceTime.busy` with the time of a step without it. What is left
    of that is the device waiting for the host.

    Args:
        case (Case): The step.

    Returns:
        DeviceTime: Of the GPU, or of the CPU where there is none.
    """
    begin, step = case
    begin()
    activities, device = [ProfilerActivity.CPU], DeviceType.CPU
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
        device = DeviceType.CUDA
    synchronize()
    with profile(activities=activities) as profiler:
        step()
        synchronize()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        # a range of names, such as an optimizer's, is no kernel
        if event.device_type == device
        and not getattr(event, 'is_user_annotation', False)
    ]
    return DeviceTime(1e-3 * union(spans), len(spans))


def union(spans: Iterable[tuple[float, float]]) -> float:
    """Length of what spans (start, end) cover together."""
    total, reached = 0.0, float('-inf')
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total
