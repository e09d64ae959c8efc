"""Work in forked processes that end with their parent; progress bars."""

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from fx_mm.utils.errors import UserError

Job = TypeVar('Job')
Result = TypeVar('Result')
_work: Callable[[Any], Any]


@contextlib.contextmanager
def progress_bar(
    text: str,
    total: int | None = None,
    done: int = 0,
    shown: bool | None = None,
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr.

    Args:
        text (str): What is being done.
        total (int, optional): Number of steps. Defaults to None, unknown.
        done (int): Steps that were done before. Defaults to 0.
        shown (bool, optional): Whether it is shown. Defaults to None: on a
            terminal alone.

    Yields:
        Callable[[int], None]: To be called with the number of steps just
        done.
    """
    console = Console(stderr=True, force_terminal=shown or None)
    if shown is None:
        shown = console.is_terminal and not console.is_dumb_terminal
    progress = Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        # no thread of its own, whose lock a fork could take along
        auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
        disable=not shown,
    )
    with progress:
        bar = progress.add_task(text, total=total, completed=done)

        def advance(steps: int) -> None:
            progress.advance(bar, steps)
            progress.refresh()

        yield advance


def chunked(items: Sequence[Job], size: int) -> list[Sequence[Job]]:
    """Cut a sequence into pieces of ``size`` items, the last one shorter."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def track_forked(
    text: str,
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int | None = None,
    count: Callable[[Any], int] = len,
    done: int = 0,
) -> Iterator[tuple[Job, Result]]:
    """Do jobs in several processes under a progress bar.

    Args:
        text (str): What is being done.
        work (Callable): See :func:`map_forked`.
        jobs (Iterable): See :func:`map_forked`.
        workers (int, optional): See :func:`map_forked`.
        count (Callable): Returns the steps of a job. Defaults to ``len``.
        done (int): Steps that were done before. Defaults to 0.

    Yields:
        tuple: Each job and its result, in the jobs' order.

    Raises:
        UserError: If a process was killed, as for lack of memory.
    """
    jobs = list(jobs)
    total = done + sum(map(count, jobs))
    with progress_bar(text, total, done) as advance:
        for job, result in zip(jobs, map_forked(work, jobs, workers)):
            advance(count(job))
            yield job, result


def map_forked(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int | None = None,
) -> Iterator[Result]:
    """Do jobs in several processes; yield the results in the jobs' order.

    The processes are forks, so ``work`` may be a closure or a bound method
    over data of any size: only jobs and results are pickled. They end when
    the parent is killed.

    Args:
        work (Callable): Takes a job, returns a result that can be pickled.
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


def _start(work: Callable[[Any], Any], parent: int) -> None:
    global _work
    _work = work

    def watch() -> None:
        # It would wait for jobs for ever, and hold its parent's locks.
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(job: Any) -> Any:
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
