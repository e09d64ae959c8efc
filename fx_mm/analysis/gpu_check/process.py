"""A stage in a process of its own, which can hang or be killed."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fx_mm.analysis.gpu_check.job import Job, Result, last_line
from fx_mm.analysis.gpu_check.stages import Stage

TRY_SECONDS = 60


def run_apart(
    stage: Stage,
    seconds: float,
    log: Path,
    add: Callable[[Result], None],
    method: str,
    **given: Any,
) -> str | None:
    """Run a stage to its end, or to the end of its time.

    Args:
        stage (Stage): The stage.
        seconds (float): When it is killed, with all that it has started.
        log (Path): Its output is added there.
        add (Callable): Takes each result.
        method (str): How to start the process, see :func:`best_method`.
        **given (Any): More arguments of its :class:`Job`.

    Returns:
        str, optional: What went wrong.
    """
    end = time.time() + seconds
    if method == 'fork':
        # here, and so not in each process again
        with contextlib.suppress(Exception):
            stage.load()
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(stage, log, theirs, dict(given, end=end))
    )
    process.start()
    theirs.close()
    error: str | None = f'stopped after {seconds:.0f} s'
    try:
        while ours.poll(max(end - time.time(), 0)):
            result = ours.recv()
            if not isinstance(result, dict):
                error = result
                break
            add(result)
    except EOFError:
        process.join(max(end - time.time(), 0))
        error = f'ended with code {process.exitcode}'
    finally:
        # it may not have got as far as its group
        process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return error


def best_method(device: str) -> str:
    """Return how stages are started: as forks, if these can use the device.

    A fork need not import everything again. It cannot use a GPU if an import
    has asked the driver for one.
    """
    if device == 'cpu':
        return 'fork'
    from fx_mm.engine import runner  # noqa: F401

    process = multiprocessing.get_context('fork').Process(target=_try_gpu)
    process.start()
    process.join(TRY_SECONDS)
    code = process.exitcode
    process.kill()
    return 'fork' if code == 0 else 'spawn'


def _try_gpu() -> None:
    import torch

    try:
        torch.zeros(1, device='cuda')
    except RuntimeError:
        os._exit(1)
    os._exit(0)


def _work(
    stage: Stage, log: Path, connection: Connection, given: dict[str, Any]
) -> None:
    # the whole group is ended: workers of loaders, launched programs
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # also what writes past Python, and the programs that are called
    file = log.open('a', buffering=1)
    file.write(f'\n=== {stage.name}\n')
    for number in (1, 2):
        os.dup2(file.fileno(), number)
    sys.stdout = sys.stderr = file
    error = None
    try:
        stage.load()(Job(**given, report=connection.send))
    except Exception as problem:
        traceback.print_exc()
        error = last_line(problem)
    connection.send(error)
    # no handler of the parent's, and no wait for threads
    os._exit(0)
