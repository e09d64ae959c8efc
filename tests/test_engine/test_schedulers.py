"""The rate is a function of the cycle."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper

from fx_mm.engine.schedulers import CycleCosineLR


def walk(passes, cycles, **kwargs):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    wrapper = OptimWrapper(optimizer)
    scheduler = CycleCosineLR(
        wrapper, passes_per_cycle=passes, max_cycles=cycles, **kwargs
    )
    rates = []
    for _ in range(passes * cycles):
        rates.append(optimizer.param_groups[0]['lr'])
        scheduler.step()
    return rates


def test_all_passes_of_a_cycle_have_one_rate():
    rates = walk(passes=3, cycles=5)
    for cycle in range(5):
        assert len(set(rates[cycle * 3 : cycle * 3 + 3])) == 1


def test_warm_up_then_cosine_in_closed_form():
    rates = walk(passes=1, cycles=5, warmup_cycles=1)
    assert rates[0] == pytest.approx(2 * 0.05)
    expected = [1 + math.cos(math.pi * c / 4) for c in range(4)]
    assert rates[1:] == pytest.approx(expected)


def test_the_cosine_ends_where_it_should():
    rates = walk(passes=2, cycles=50, end_factor=0.1)
    assert rates[-1] == pytest.approx(0.2, rel=0.02)


def test_the_cosine_of_timm_counts_the_warm_up():
    rates = walk(
        passes=1,
        cycles=20,
        warmup_cycles=4,
        start_factor=0.0,
        end_factor=0.1,
        cosine_from_start=True,
    )
    assert rates[:4] == pytest.approx([0, 0.5, 1, 1.5])
    expected = [
        0.2 + 0.5 * (2 - 0.2) * (1 + math.cos(math.pi * c / 20))
        for c in range(4, 20)
    ]
    assert rates[4:] == pytest.approx(expected)
