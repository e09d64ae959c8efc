"""Two processes give the numbers of one."""

import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fx_mm.evaluation import ClsMetric, LocMetric, SegMetric


def build():
    """One metric a kind, and the results of five images."""
    rng = np.random.default_rng(0)
    metrics = dict(cls=ClsMetric(), loc=LocMetric(), seg=SegMetric())
    for kind, metric in metrics.items():
        metric.dataset_meta = dict(task=f'x/{kind}', classes=('a', 'b'))
    results = dict(cls=[], loc=[], seg=[])
    for i in range(5):
        box = np.array([[10.0, 10.0, 30.0 + i, 30.0]])
        results['cls'].append((f'{i}', np.array([i % 2, 0]), rng.random(2)))
        results['loc'].append(
            (f'{i}', box, np.array([0]), box + i, np.array([0]), rng.random(1))
        )
        truth, pred = rng.integers(4, 9, (2, 2))
        results['seg'].append((f'{i}', np.array([truth // 2, truth, pred])))
    return metrics, results


def run_rank(rank, port, share, out_file):
    dist.init_process_group(
        'gloo', f'tcp://localhost:{port}', world_size=2, rank=rank
    )
    metrics, results = build()
    found = {}
    for kind, metric in metrics.items():
        metric.results = [results[kind][i] for i in share[rank]]
        found[kind] = metric.evaluate(5)
    torch.save(found, f'{out_file}.{rank}')
    dist.destroy_process_group()


@pytest.mark.slow
def test_equal_to_one_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mmengine gathers in a folder of the cwd
    metrics, results = build()
    expected = {}
    for kind, metric in metrics.items():
        metric.results = list(results[kind])
        expected[kind] = metric.evaluate(5)
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    # padded with an early image on one side, uneven on the other
    share = [[0, 0, 1], [2, 3, 4, 0, 1]]
    mp.spawn(run_rank, (port, share, 'found'), nprocs=2)
    for rank in range(2):
        found = torch.load(f'found.{rank}', weights_only=False)
        for kind, values in expected.items():
            assert set(found[kind]) == set(values)
            for key, value in values.items():
                assert found[kind][key] == pytest.approx(
                    value, abs=1e-9, nan_ok=True
                ), key
