"""How often a step makes the host wait for a GPU, and where."""

import inspect
import os
import warnings
from collections import Counter
from types import FrameType
from typing import Any

import torch
from mmcv.ops.multi_scale_deform_attn import (
    multi_scale_deformable_attn_pytorch,
)
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from fx_mm.analysis.step_timing import Case
from fx_mm.utils.device import synchronize

READ = 'aten::_local_scalar_dense'
"""The operator that reads a value."""
NONZERO = 'aten::nonzero'
"""It waits to know how many there are; indexing with a mask calls it, below
what a dispatch mode sees."""
COPYING_METHODS = (Tensor.cpu, Tensor.tolist)
"""Methods that copy to the host."""
WAITING_CALLS = ('cudaStreamSynchronize', 'cudaEventSynchronize')
"""Calls of CUDA that wait; the profiler itself calls another one."""
OPTIMIZERS = os.path.dirname(torch.optim.__file__)


def count_waits(case: Case) -> dict[str, int]:
    """Count the waits of a step, by cause.

    On a GPU, CUDA's own calls are counted. On a CPU, what would make them:
    the optimizer's step counters live on the host and do not count, nor does
    what mmcv's substitute for its CUDA operator reads. Copies to a GPU, which
    may wait as well, are not seen there.

    Args:
        case (Case): The step.

    Returns:
        dict[str, int]: Cause to how often, and ``total``.
    """
    begin, step = case
    begin()
    counts: Counter[str] = Counter()
    if torch.cuda.is_available():
        counts.update(_calls(case))
    else:
        with (
            profile(activities=[ProfilerActivity.CPU]) as profiler,
            _CopiesToHost(counts),
            _Reads(counts),
        ):
            step()
        counts.update(
            {
                e.key: e.count
                for e in profiler.key_averages()
                if e.key == NONZERO
            }
        )
    return dict(counts, total=sum(counts.values()))


def _calls(case: Case) -> dict[str, int]:
    _, step = case
    synchronize()
    with profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]
    ) as profiler:
        step()
    events = {event.key: event.count for event in profiler.key_averages()}
    if not any(key.startswith('cu') for key in events):
        raise RuntimeError('the profiler saw no call of CUDA')
    return {key: events[key] for key in WAITING_CALLS if key in events}


class _CopiesToHost(TorchFunctionMode):
    """Counts calls of the methods that copy to the host.

    Args:
        counts (Counter): Counts them by name.
    """

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in COPYING_METHODS and args[0].numel() and not _is_on_host():
            self._counts[f'Tensor.{func.__name__}'] += 1
        return func(*args, **(kwargs or {}))


class _Reads(TorchDispatchMode):
    """Counts values that are read.

    Args:
        counts (Counter): Counts them under the operator's name.
    """

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self._counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func.name() == READ and not _is_on_host():
            self._counts[READ] += 1
        return func(*args, **(kwargs or {}))


def _is_on_host() -> bool:
    """Whether the caller would read what is on the host, on a GPU too."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code is multi_scale_deformable_attn_pytorch.__code__:
            return True
        if code.co_filename.startswith(OPTIMIZERS):
            return True
        frame = frame.f_back
    return False


def find_waits(case: Case) -> dict[str, int]:
    """Where a step makes the host wait for a GPU, as torch warns of it.

    Args:
        case (Case): The step.

    Returns:
        dict[str, int]: ``file:line`` to how often; empty without a GPU.
    """
    if not torch.cuda.is_available():
        return {}
    begin, step = case
    begin()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return dict(
        Counter(
            f'{os.path.basename(each.filename)}:{each.lineno}'
            for each in caught
            if 'called a synchronizing' in str(each.message)
        )
    )
