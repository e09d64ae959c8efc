"""Two processes give the numbers of one."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from made_up_predictions import KINDS, meta, metric_of, predict


def evaluate(metric):
    """Everything, on the main process; the headlines on the others."""
    found = metric.evaluate(9)
    for records, _ in metric.kept:
        found = {**found, **metric.details(records)}
    return found


def run_rank(rank, port, share, records, out_file):
    dist.init_process_group(
        'gloo', f'tcp://localhost:{port}', world_size=2, rank=rank
    )
    found = {}
    for kind in KINDS:
        metric = metric_of(meta(kind))
        metric.results = [records[kind][i] for i in share[rank]]
        found[kind] = evaluate(metric)
    torch.save(found, f'{out_file}.{rank}')
    dist.destroy_process_group()


@pytest.mark.slow
def test_equal_to_one_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mmengine gathers in a folder of the cwd
    records = {kind: predict(kind, n=9).records for kind in KINDS}
    expected = {}
    for kind in KINDS:
        metric = metric_of(meta(kind))
        metric.results = list(records[kind])
        expected[kind] = evaluate(metric)
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    # padded with an early image on one side, uneven on the other
    share = [[8, 6, 0, 0, 1], [2, 3, 5, 4, 7, 0, 1]]
    mp.spawn(run_rank, (port, share, records, 'found'), nprocs=2)
    for rank in range(2):
        found = torch.load(f'found.{rank}', weights_only=False)
        for kind, values in expected.items():
            # to the last bit
            headlines = {key: values[key] for key in found[kind]}
            assert found[kind] == pytest.approx(headlines, abs=0, nan_ok=True)
            if not rank:
                assert set(found[kind]) == set(values)
