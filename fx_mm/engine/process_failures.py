"""Processes of a run that die, and those that must not."""

import contextlib
import multiprocessing
import os
import re
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch.distributed as torch_dist
from torch.utils.data import DataLoader

from fx_mm.utils.errors import UserError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
GO_ON = 'go on from the last checkpoint with --resume'
GLOO = ('gloo/', 'Application timeout caused pair closure')
"""In its plain RuntimeErrors: the path of its source, mostly."""


def is_lost_rank(error: BaseException) -> bool:
    """Return whether an exchange failed because a process of the run is gone.

    Args:
        error (BaseException): Of torch, or a plain one of gloo.
    """
    return isinstance(error, torch_dist.DistError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in GLOO)
    )


@contextlib.contextmanager
def lost_processes() -> Iterator[None]:
    """Name the process that died, if that is why what is inside failed.

    Raises:
        UserError: If a worker of a loader, or another rank, is gone.
    """
    try:
        yield
    except RuntimeError as error:
        text = ' '.join(str(error).split())
        if text.startswith('DataLoader worker'):
            raise UserError(
                f'A process that loads images died ({text.rstrip(". ")}); '
                'if the memory was full, lower loader.num_workers or '
                f'loader.prefetch_factor, then {GO_ON}.'
            ) from error
        if is_lost_rank(error):
            # without the path of gloo's source, and its advice
            text = re.sub(r'^\[[^]]*\] *', '', text).split('. ')[0]
            where = torch_dist.get_rank() if torch_dist.is_initialized() else 0
            raise UserError(
                f'Process {where} lost another process of the run, which '
                'died or did not answer within env_cfg.dist_cfg.timeout '
                f'({text}); look for its message, then {GO_ON}.'
            ) from error
        raise


def tie_workers(loader: DataLoader, owner: object) -> None:
    """Let a loader's workers live as long as the loop that uses it.

    A stop signal to the whole process group spares them: torchrun and SLURM
    signal the workers too. The main process needs them until it has finished
    its iteration and written its checkpoint; then it ends them itself.

    They end at once when the loop is gone. It is part of a circle with its
    runner, and what the garbage collector finds in a circle with it has its
    queues closed first: torch would then wait 5 seconds for each worker. So
    the loader stays out of the circle.

    Args:
        loader (DataLoader): Before its workers start.
        owner (object): The loop.
    """
    loader.worker_init_fn = partial(_init_worker, loader.worker_init_fn)
    weakref.finalize(owner, _let_go, loader).atexit = False


def _let_go(loader: DataLoader) -> None:
    """Do nothing: what was held until now goes with the last reference."""


def _init_worker(init: Callable[[int], Any] | None, worker_id: int) -> None:
    if init is not None:
        init(worker_id)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    """End this worker when its owner, the process of the loader, says so.

    That is not its parent with the start method ``forkserver``: there the
    server is.
    """
    owner = multiprocessing.parent_process()
    if owner is None:
        return
    while signal.sigwaitinfo(STOP_SIGNALS).si_pid != owner.pid:
        pass
    os._exit(0)
