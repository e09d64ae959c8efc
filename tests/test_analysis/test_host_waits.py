"""How often a step waits for a GPU."""

import contextlib
import warnings
from types import SimpleNamespace

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    multi_scale_deformable_attn_pytorch,
)
from small_run import small_cfg

from fx_mm.analysis import host_waits
from fx_mm.analysis.step_timing import Trainer


def nothing():
    """Bring everything into a state."""


@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        (lambda x: x + 1, {}),
        (lambda x: x.cpu(), {'Tensor.cpu': 1}),
        (lambda x: x[:0].cpu(), {}),
        (lambda x: x.tolist(), {'Tensor.tolist': 1}),
        (lambda x: x.sum().item(), {'aten::_local_scalar_dense': 1}),
        (lambda x: bool(x[0] > 0), {'aten::_local_scalar_dense': 1}),
        (lambda x: x[x > 0], {'aten::nonzero': 1}),
    ],
)
def test_what_would_wait(step, expected):
    counts = host_waits.count_waits((nothing, lambda: step(torch.ones(3))))
    assert counts == dict(expected, total=sum(expected.values()))


def test_what_lies_on_the_host_does_not_wait():
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = torch.optim.AdamW([weight], foreach=False)
    value = torch.ones(1, 4, 1, 2)
    shapes = torch.tensor([[2, 2]])
    places = torch.full((1, 3, 1, 1, 1, 2), 0.5)

    def step():
        optimizer.step()
        multi_scale_deformable_attn_pytorch(
            value, shapes, places, torch.ones(1, 3, 1, 1, 1)
        )

    assert host_waits.count_waits((nothing, step)) == dict(total=0)


# the profiler takes its time
@pytest.mark.slow
@pytest.mark.parametrize('amp_dtype', [None, 'bfloat16'])
def test_waits_of_each_kind(tmp_path, monkeypatch, amp_dtype):
    """A step of boxes waits for the matcher, the others for nothing."""
    monkeypatch.chdir(tmp_path)
    cfg = small_cfg(
        tmp_path,
        tmp_path,
        **{
            'tasks': ['phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg'],
            'optim_wrapper.amp_dtype': amp_dtype,
        },
    )
    assert cfg.optim_wrapper.optimizer.fused
    trainer = Trainer(cfg)
    for kind, task in trainer.tasks(('cls', 'loc', 'seg')).items():
        for mode in ('release', 'lock'):
            case = trainer.case(task, mode, True)
            if case is None:
                continue
            counts = host_waits.count_waits(case)
            expected = {'Tensor.cpu': 1} if kind == 'loc' else {}
            assert counts == dict(expected, total=len(expected)), (kind, mode)


def test_places_of_waits(case, cuda):
    ((place, count),) = host_waits.find_waits(case).items()
    assert place.startswith('conftest.py:') and count == 2
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

    monkeypatch.setattr(host_waits, 'profile', profile)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert host_waits.count_waits(case)['total'] == total
    events.clear()
    with pytest.raises(RuntimeError, match='saw no call of CUDA'):
        host_waits.count_waits(case)
