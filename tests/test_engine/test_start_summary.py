"""What a terminal shows of a training and a test, and what the log file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import small_cfg

from fx_mm.config import PlainConfig

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[2]
TOOLS = """
import runpy, sys
config, checkpoint, work = sys.argv[1:]
for tool, *arguments in (
    ('train', config, '--work-dir', work),
    # the config that the training wrote
    ('test', work + '/config.py', checkpoint, '--work-dir', work + '/test'),
):
    print('==', tool, flush=True)
    sys.argv = [f'tools/{tool}.py', *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as end:
        assert not end.code, end.code
"""
STOCK = ('System environment', 'Runtime environment', 'Hooks will be executed')


@pytest.fixture(scope='module')
def shown(phantom_root, tmp_path_factory):
    """Train and test as a user does; give the output and the folder."""
    folder = tmp_path_factory.mktemp('console')
    cfg = small_cfg(
        phantom_root,
        folder / 'work',
        **{
            'tasks': ['phantom_a/cls', 'phantom_c/seg'],
            'log_level': 'INFO',
            'cycle.max_batches': 1,
            'train_cfg.max_cycles': 2,
        },
    )
    cfg.pop('experiment_name')
    config = folder / 'config.py'
    config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
    done = subprocess.run(
        [
            *(sys.executable, '-c', TOOLS, config),
            *(folder / 'work' / 'iter_6.pth', folder / 'work'),
        ],
        cwd=REPO,
        env=dict(os.environ, PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    _, train, test = done.stdout.split('== ')
    return train, test, folder / 'work'


def block(text):
    """The lines of the block, by their first word."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith('fx_mm '))
    found = {}
    for line in lines:
        if line[:1].isdigit():
            return found
        found[line[:10].strip()] = line[10:]


def test_a_training_begins_with_one_block(shown):
    train, _, work = shown
    found = block(train)
    assert list(found) == [
        *('tasks', 'images', 'cycle', 'model', 'device', 'work dir', 'log')
    ]
    assert found['tasks'] == '2: labels of phantom_a; masks of phantom_c'
    assert found['images'] == '24, counted once per task'
    assert found['cycle'] == '3 passes (1 locked), 3 iterations; 2 cycles'
    assert found['work dir'] == str(work)
    # the warnings about the data, the block, and at once the first pass
    before = train[: train.index('- INFO - cycle 1/2')]
    assert len(before.splitlines()) < 20
    # two cycles of three passes, what the lock pass locks, two validations
    after = train.split(found['log'])[1].split('Cls AUC')[0]
    assert after.count('- INFO - cycle ') == 6
    assert after.count(' lock locks ') == 1
    assert after.count('- INFO - validation in ') == 2
    assert after.count('- INFO -') == 10


def test_a_test_begins_with_one_block(shown):
    _, test, work = shown
    found = block(test)
    assert found['images'] == '8, counted once per task; split test'
    assert found['weights'] == str(work / 'iter_6.pth')


def test_what_is_mmengines_goes_to_the_log_file_alone(shown):
    train, test, work = shown
    (log,) = work.glob('2*/*.log')
    text = log.read_text()
    for words in STOCK:
        assert words in text
        assert words not in train + test
    assert len(text.splitlines()) > 500
    assert "optim_wrapper = {'type'" in text
    assert "optim_wrapper = {'type'" not in train + test
    for words in ('deprecated', 'OneDL', 'is not a meta file', 'Checkpoints'):
        assert words not in train + test


def test_warnings_reach_the_terminal(shown):
    train, _, _ = shown
    assert 'WARNING - no-positives:phantom_a/cls/train' in train
    assert 'WARNING - No pre-trained weights' in train
