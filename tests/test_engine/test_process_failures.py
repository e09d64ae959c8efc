"""A loader's workers outlive signals to the group, and obey their owner."""

import multiprocessing
import subprocess
import time

import pytest

from fx_mm.engine.process_failures import _init_worker


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
