"""What a stage reports, and the programs that it calls."""

import math
import sys
import time

import pytest

from fx_mm.analysis.gpu_check.job import Job


@pytest.fixture
def made(tmp_path):
    """A job, and what it has reported."""
    results = []
    job = Job(
        'cpu', True, time.time() + 60, tmp_path, tmp_path, {}, results.append
    )
    return job, results


@pytest.mark.parametrize(
    ('value', 'passed'),
    [(0, True), (1, True), (1.1, False), (math.inf, False)],
)
def test_checks(made, value, passed):
    job, results = made
    job.check('it', value, 1)
    assert results[0]['passed'] is passed


@pytest.mark.parametrize(
    ('value', 'goal', 'reached'),
    [(1, '<= 1', True), (2, '<= 1', False), (2, '>= 1.5', True)],
)
def test_goals(made, value, goal, reached):
    job, results = made
    job.figure('it', value, goal=goal)
    assert (results[0]['kind'], results[0]['passed']) == ('goal', reached)


def test_programs(made):
    job, _ = made
    assert 0 < job.call([sys.executable, '-c', 'pass']) < 60
    (job.home / 'tool.py').write_text('import sys; sys.exit(sys.argv[1])')
    with pytest.raises(RuntimeError, match='tool.py failed with code 1'):
        job.call(['tool.py', 'wrong'])
    job.end = time.time()
    begin = time.perf_counter()
    with pytest.raises(RuntimeError, match='took too long'):
        job.call(['sleep', 60])
    assert time.perf_counter() - begin < 15


def test_tools_in_this_process(made, capfd):
    job, _ = made
    tool = job.home / 'tool.py'
    tool.write_text(
        'import sys; print(sys.argv[1]); sys.exit(len(sys.argv) - 2)'
    )
    before = sys.argv
    job.run_tool(['tool.py', 'word'])
    assert capfd.readouterr().out == 'word\n'
    with pytest.raises(RuntimeError, match='tool.py failed with code 1'):
        job.run_tool(['tool.py', 'word', 'more'])
    assert sys.argv is before
