"""Stages, their processes, limits and report, without a GPU."""

import contextlib
import json
import time
from pathlib import Path

import pytest

from fx_mm.analysis.gpu_check import runner
from fx_mm.analysis.gpu_check.runner import Checks
from fx_mm.analysis.gpu_check.stages import STAGES, Stage
from fx_mm.utils.errors import UserError


def stage(name, seconds=20, **options):
    return Stage(name, f'made_up_stages:{name}', seconds, **options)


@pytest.fixture
def make(tmp_path):
    def make(*names, **options):
        stages = [stage(n) if isinstance(n, str) else n for n in names]
        return Checks(
            stages, tmp_path / 'out', Path(), tmp_path, 'cpu', **options
        )

    return make


def report_of(checks):
    return json.loads((checks.out / runner.REPORT).read_text())


def results_of(checks, name):
    return report_of(checks)['stages'][name]['results']


def test_nothing_to_run(make):
    checks = make()
    assert checks.run(1)
    assert checks.table().splitlines()[0].startswith('stage')


def test_results_and_table(make, capsys):
    checks = make('good')
    assert checks.run(60)
    check, goal, note = results_of(checks, 'good')
    assert (check['passed'], check['bound']) == (True, '<= 0.001')
    assert (goal['passed'], goal['value']) == (False, 3.0)
    assert note['value'] == 'cpu'
    assert 'good: passed' in capsys.readouterr().out
    lines = checks.table().splitlines()
    assert any('1e-05' in line and 'passed' in line for line in lines)
    assert any('3 s' in line and 'not reached' in line for line in lines)
    assert '| good | device | cpu |' in (checks.out / runner.TABLE).read_text()
    assert 'what a stage prints' in (checks.out / runner.LOG).read_text()


def test_a_process_that_imports_everything_again(make, monkeypatch):
    """As where a fork could not use the GPU."""
    monkeypatch.setattr(runner, 'best_method', lambda device: 'spawn')
    checks = make('good', 'raises')
    assert not checks.run(60)
    assert len(results_of(checks, 'good')) == 3
    assert report_of(checks)['stages']['raises']['error'] == "KeyError: 'gone'"


def test_checks_that_are_not_met(make):
    checks = make('bad')
    assert not checks.run(60)
    large, undefined = results_of(checks, 'bad')
    assert not large['passed'] and not undefined['passed']
    assert undefined['value'] == 'nan'
    assert checks.table().count('FAILED') == 2


def test_a_part_that_fails_is_not_the_end(make):
    checks = make('parts')
    assert not checks.run(60)
    first, second = results_of(checks, 'parts')
    assert first['error'] == 'ValueError: two'
    assert second['passed']


@pytest.mark.parametrize(
    ('name', 'error'),
    [('raises', "KeyError: 'gone'"), ('dies', 'ended with code 3')],
)
def test_a_stage_that_fails_keeps_its_results(make, name, error):
    checks = make(name, 'good')
    assert not checks.run(60)
    entry = report_of(checks)['stages'][name]
    assert (entry['state'], entry['error']) == ('failed', error)
    assert [r['name'] for r in entry['results']] == ['before']
    assert results_of(checks, 'good')
    assert error in checks.table()


def test_a_module_that_is_not_there(make):
    checks = make(Stage('absent', 'no_such_module:run', 20))
    assert not checks.run(60)
    assert 'no_such_module' in report_of(checks)['stages']['absent']['error']


def test_a_stage_that_hangs_is_ended_with_its_programs(make, tmp_path):
    checks = make(stage('hangs', seconds=1), 'good')
    begin = time.perf_counter()
    assert not checks.run(60)
    assert time.perf_counter() - begin < 20
    assert report_of(checks)['stages']['hangs']['error'] == 'stopped after 1 s'
    child = Path('/proc', (tmp_path / 'child').read_text(), 'stat')
    with contextlib.suppress(FileNotFoundError):
        assert child.read_text().split()[2] in 'XZ'
    assert results_of(checks, 'good')


def test_stages_get_the_time_that_is_left(make):
    checks = make(stage('late', 1000), stage('good', optional=True))
    assert checks.run(15)
    ((left,),) = [[r['value'] for r in results_of(checks, 'late')]]
    assert 5 < left < 15


def test_without_time_nothing_is_begun(make):
    checks = make('good')
    assert not checks.run(5)
    assert 'not run' in checks.table()
    assert make(stage('good', optional=True)).run(5)


def test_the_same_command_goes_on(make, tmp_path):
    names = ('good', 'counts', 'reads')
    assert not make(*names).run(60)
    # what failed is tried again, what passed is not
    (tmp_path / 'mended').touch()
    (tmp_path / 'out' / runner.LOG).unlink()
    checks = make(*names)
    assert checks.run(60)
    assert (tmp_path / 'calls').read_text() == 'xx'
    log = (tmp_path / 'out' / runner.LOG).read_text()
    assert 'counts' in log and 'good' not in log
    assert results_of(checks, 'reads')[0]['value'] == 3.0
    assert make(*names).run(1)
    assert (tmp_path / 'calls').read_text() == 'xx'


def test_the_report_of_another_run_is_refused(make, tmp_path):
    make('good').run(60)
    with pytest.raises(UserError, match='choose another --out'):
        make('good', tiny=True)
    (tmp_path / 'out' / runner.REPORT).write_text('[]')
    with pytest.raises(UserError, match='no report of this tool'):
        make('good')


def test_the_stages_are_there():
    assert len({s.name for s in STAGES}) == len(STAGES)
    for each in STAGES:
        assert callable(each.load())
