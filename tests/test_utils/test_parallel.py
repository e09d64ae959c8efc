"""Work in forked processes."""

import os
import signal
from functools import partial

import pytest

from fx_mm.utils.errors import UserError
from fx_mm.utils.parallel import (
    chunked,
    map_forked,
    progress_bar,
    track_forked,
)


@pytest.mark.parametrize('workers', [1, 3, None])
def test_results_are_in_order(workers):
    offset = 5
    jobs = range(20)
    results = map_forked(lambda job: job + offset, jobs, workers)
    assert list(results) == list(range(5, 25))
    assert list(map_forked(str, [], workers)) == []


def test_forks_do_the_work():
    processes = set(map_forked(lambda _: os.getpid(), range(8), 2))
    assert os.getpid() not in processes
    assert set(map_forked(lambda _: os.getpid(), range(8), 1)) == {os.getpid()}


def fail(error, job):
    if job == 3:
        raise error
    return job


@pytest.mark.parametrize('workers', [1, 2])
def test_errors_arrive(workers):
    work = partial(fail, UserError('job 3 is wrong'))
    with pytest.raises(UserError, match='job 3 is wrong'):
        list(map_forked(work, range(9), workers))


def test_a_killed_worker_is_one_sentence():
    def work(job):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match='worker process was killed; if mem'):
        list(map_forked(work, range(4), 2))


def test_pieces_hold_every_item_once():
    assert chunked(range(7), 3) == [range(0, 3), range(3, 6), range(6, 7)]
    assert chunked(['a'], 3) == [['a']]
    assert chunked([], 3) == []


@pytest.mark.parametrize('workers', [1, 2])
def test_jobs_come_with_their_results(workers):
    jobs = chunked(range(10), 4)
    found = list(track_forked('Adding', sum, jobs, workers))
    assert found == [(jobs[0], 6), (jobs[1], 22), (jobs[2], 17)]


def test_the_bar_counts_steps_and_is_shown_where_it_is_wanted(capfd):
    with progress_bar('Drawing', 12, done=2, shown=True) as advance:
        advance(4)
        assert '6/12' in capfd.readouterr().err
    capfd.readouterr()
    with progress_bar('Drawing', 12) as advance:
        advance(4)
    assert capfd.readouterr() == ('', '')
