"""A loader's workers outlive signals to the group, and obey their owner."""

import gc
import multiprocessing
import subprocess
import time
import weakref

import pytest
from torch.utils.data import DataLoader

from fx_mm.engine.process_failures import _init_worker, tie_workers


def work(ready):
    _init_worker(None, 0)
    ready.set()
    time.sleep(120)


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
def test_only_the_owner_ends_a_worker(method):
    """With forkserver, the owner is not the parent in the system."""
    context = multiprocessing.get_context(method)
    ready = context.Event()
    worker = context.Process(target=work, args=(ready,), daemon=True)
    worker.start()
    try:
        assert ready.wait(100)
        for name in ('TERM', 'USR1'):
            subprocess.run(['kill', f'-{name}', str(worker.pid)], check=True)
        worker.join(0.3)
        assert worker.is_alive()
        worker.terminate()
        worker.join(20)
        assert worker.exitcode == 0
    finally:
        worker.kill()
        worker.join()


class Loop:
    """Part of a circle of references, as the loops of a runner are."""

    def __init__(self):
        self.loader = DataLoader(
            range(4), num_workers=2, persistent_workers=True
        )
        self.runner = self


def test_workers_end_at_once_with_their_loop():
    """torch waits 5 seconds for each worker that can't be told to end."""
    loop = Loop()
    tie_workers(loop.loader, loop)
    assert len(list(loop.loader)) == len(list(loop.loader)) == 4
    workers = loop.loader._iterator._workers
    assert all(worker.is_alive() for worker in workers)
    gone = weakref.ref(loop.loader)
    begin = time.perf_counter()
    del loop
    gc.collect()
    assert gone() is None
    assert not any(worker.is_alive() for worker in workers)
    assert time.perf_counter() - begin < 4
