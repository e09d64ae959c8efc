"""Work shared out to forked processes that end with their parent."""

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

from fx_mm.utils.errors import UserError

_work: Callable | None = None


def map_forked(
    work: Callable, jobs: Iterable, workers: int | None = None
) -> Iterator:
    """Do jobs in several processes; give the results in the jobs' order.

    The processes are forks, so ``work`` may be a closure or a bound method
    over data of any size: only jobs and results are pickled. They end when
    the parent is killed.

    Args:
        work (Callable): Takes a job, gives a result that can be pickled.
        jobs (Iterable): The jobs; each should take longer than the 0.1 ms
            that sending it costs.
        workers (int, optional): Number of processes; 1 does the work in this
            one. Defaults to the number of available cores.

    Yields:
        The result of each job.

    Raises:
        UserError: If a process was killed, as for lack of memory.
    """
    jobs = list(jobs)
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    with _single_threaded_opencv():
        if workers <= 1:
            yield from map(work, jobs)
            return
        # Forked workers need not import the package again.
        context = multiprocessing.get_context('fork')
        with ProcessPoolExecutor(
            workers, context, _start, (work, os.getpid())
        ) as pool:
            try:
                yield from pool.map(_do, jobs)
            except BrokenProcessPool as error:
                raise UserError(
                    'A worker process was killed; if memory ran out, take '
                    'fewer workers.'
                ) from error


def _start(work: Callable, parent: int) -> None:
    global _work
    _work = work

    def watch():
        # It would wait for jobs for ever, and hold its parent's locks.
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(job):
    return _work(job)


@contextlib.contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Keep OpenCV's threads out of forked processes, where they can hang."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
