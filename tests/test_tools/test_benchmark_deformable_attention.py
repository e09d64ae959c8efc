"""tools/analysis_tools/benchmark_deformable_attention.py."""

import json

import benchmark_deformable_attention as benchmark
import pytest
import torch

from fx_mm.ops import triton_sampling
from fx_mm.ops.sampling import available_kernels

CPU = torch.device('cpu')


def test_kernels_of_a_cpu(run, tmp_path):
    out = tmp_path / 'out.json'
    code, table, err = run(
        *('analysis_tools/benchmark_deformable_attention', '--runs', 1),
        *('--sizes', 'demo', '--batch', 1, '--dtypes', 'bf16'),
        *('--device', 'cpu', '--out', out),
    )
    assert code == 0, err
    assert 'a copy moves' in table
    forward, backward = json.loads(out.read_text())['results']
    assert (forward['pass'], backward['pass']) == ('forward', 'backward')
    assert set(forward['ms']) == set(backward['share']) == {'grid_sample'}
    # values, locations, weights; the output; the gradients of the first three
    tokens, channels, points = 16**2 + 8**2 + 4**2, 64, 3 * 2 * 4
    ends, places = 2 * tokens * channels, 4 * tokens * points * 3
    assert forward['bytes'] == 2 * ends + places
    assert backward['bytes'] == 3 * ends + 2 * places


def test_no_run(run):
    code, _, err = run(
        'analysis_tools/benchmark_deformable_attention', '--runs', 0
    )
    assert code == 1 and '--runs is 0; it must be at least 1.' in err


@pytest.mark.skipif(
    'triton' not in available_kernels(CPU), reason='needs the interpreter'
)
def test_forms_of_programs(monkeypatch):
    tiny = dict(side=8, strides=(8,), heads=1, dims=4, points=1, batch=1)
    monkeypatch.setitem(benchmark.SIZES, 'tiny', tiny)
    monkeypatch.setattr(benchmark, 'WARMUP', 0)
    monkeypatch.setattr(benchmark, 'FORMS', [(1, 8), (2, 8)])
    before = triton_sampling.FORWARD, triton_sampling.BACKWARD
    rows = benchmark.sweep('tiny', torch.float32, CPU, 1)
    assert before == (triton_sampling.FORWARD, triton_sampling.BACKWARD)
    assert [(row['pass'], row['form']) for row in rows] == [
        (name, form)
        for form in benchmark.FORMS
        for name in ('forward', 'backward', 'deterministic')
    ]
    assert all(set(row['ms']) == {'triton'} for row in rows)
