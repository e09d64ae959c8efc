"""Runs of two processes by the tools, whole and broken."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_run import small_cfg

from fx_mm.config import PlainConfig
from fx_mm.utils.checkpoint import find_checkpoint, load_file

REPO = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def children(pid):
    found = subprocess.run(
        ['pgrep', '-P', str(pid)], capture_output=True, text=True
    )
    return sorted(map(int, found.stdout.split()))


class Run:
    """A tool under torchrun, its output in a file."""

    def __init__(self, folder, *command):
        self.log = folder / 'log.txt'
        with self.log.open('a') as log:
            self.process = subprocess.Popen(
                [*map(str, command)],
                cwd=REPO,
                env=dict(
                    os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1'
                ),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self):
        return self.log.read_text()

    @property
    def ranks(self):
        return children(self.process.pid)

    def wait_for(self, pattern, seconds=240):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert self.process.poll() is None, self.text[-3000:]
            assert time.monotonic() < end, self.text[-3000:]
            time.sleep(0.05)

    def wait(self, seconds=600):
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            for rank in self.ranks:
                os.kill(rank, signal.SIGKILL)
            self.process.kill()
            raise


@pytest.fixture
def train(phantom_root, tmp_path):
    """Start a training of two processes."""
    started = []

    def start(*arguments, work='work', **options):
        cfg = small_cfg(
            phantom_root,
            tmp_path / work,
            **{
                'log_level': 'INFO',
                'loader.num_workers': 1,
                'tasks': ['phantom_a/cls', 'phantom_c/loc', 'phantom_c/seg'],
                'train_cfg.val_interval': 100,
                # the norm of a pooled pixel needs two values a group
                'model.student.segmentation.decoder.pool_channels': 16,
                **options,
            },
        )
        cfg.pop('experiment_name')
        config = tmp_path / 'config.py'
        config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
        run = Run(
            tmp_path,
            *('tools/dist_train.sh', config, 2),
            *('--work-dir', tmp_path / work, *arguments),
        )
        started.append(run)
        return run

    yield start
    for run in started:
        if run.process.poll() is None:
            run.process.terminate()
            run.wait(60)


LONG = {'train_cfg.max_cycles': 1000}


def ended_within(run, seconds=60):
    begin = time.monotonic()
    code = run.wait(seconds)
    print(f'ended after {time.monotonic() - begin:.0f} s')
    return code


@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_dies(train, rank):
    run = train(**LONG)
    run.wait_for('cycle 2/')
    os.kill(run.ranks[rank], signal.SIGKILL)
    assert ended_within(run) != 0
    assert f'error: Process {1 - rank} lost another process' in run.text


def test_a_rank_hangs(train):
    run = train(**LONG, **{'env_cfg.dist_cfg.timeout': 10})
    run.wait_for('cycle 2/')
    os.kill(run.ranks[1], signal.SIGSTOP)
    assert ended_within(run) != 0
    assert 'error: Process 0 lost another process' in run.text


def test_a_worker_dies(train):
    run = train(**LONG)
    run.wait_for('cycle 2/')
    (worker, *_) = children(run.ranks[1])
    os.kill(worker, signal.SIGKILL)
    assert ended_within(run) != 0
    assert f'images died (DataLoader worker (pid {worker})' in run.text


@pytest.mark.parametrize('target', ['rank', 'torchrun'])
def test_a_signal_stops_all_with_a_checkpoint(train, tmp_path, target):
    """And the resumed run ends as the uninterrupted one."""
    cycles = {'train_cfg.max_cycles': 6}
    run = train(**cycles)
    run.wait_for('cycle 2/')
    pid = run.ranks[1] if target == 'rank' else run.process.pid
    os.kill(pid, signal.SIGTERM)
    ended_within(run)
    assert len(re.findall('Stopped by .* go on with --resume', run.text)) == 1
    stopped = load_file(find_checkpoint(tmp_path / 'work'))['meta']['iter']
    assert stopped < 30
    assert train('--resume', **cycles).wait() == 0
    assert train(work='whole', **cycles).wait() == 0
    one, two = (
        load_file(find_checkpoint(tmp_path / work))
        for work in ('whole', 'work')
    )
    assert one['meta']['iter'] == two['meta']['iter'] > stopped
    for key, value in one['state_dict'].items():
        assert torch.equal(value, two['state_dict'][key]), key


def test_test_gives_the_numbers_of_one_process(train, tmp_path):
    """Of 4 images a task, three processes cannot have as many each."""
    run = train(**{'train_cfg.max_cycles': 1, 'test_cfg.amp_dtype': None})
    assert run.wait() == 0, run.text[-3000:]
    arguments = [tmp_path / 'config.py', find_checkpoint(tmp_path / 'work')]
    results = {}
    for name, command in (
        ('one', [sys.executable, 'tools/test.py', *arguments]),
        ('three', ['tools/dist_test.sh', *arguments, 3]),
    ):
        test = Run(tmp_path, *command, '--work-dir', tmp_path / name)
        assert test.wait() == 0, test.text[-3000:]
        results[name] = (tmp_path / name / 'results.csv').read_text()
    assert results['one'] == results['three']


def test_sharded_optimizer(train, tmp_path):
    """ZeRO gives the weights of AdamW, also when it is resumed."""
    sharded = {
        'optim_wrapper.optimizer.type': 'ShardedOptimizer',
        'optim_wrapper.optimizer.optimizer_type': 'AdamW',
    }
    assert train(work='whole').wait() == 0
    run = train(**sharded, **{'train_cfg.max_cycles': 1})
    assert run.wait() == 0, run.text[-3000:]
    run = train('--resume', **sharded)
    assert run.wait() == 0, run.text[-3000:]
    one, two = (
        load_file(find_checkpoint(tmp_path / work))
        for work in ('whole', 'work')
    )
    for key, value in one['state_dict'].items():
        torch.testing.assert_close(value, two['state_dict'][key], msg=key)
    states = [found['optimizer']['state'] for found in (one, two)]
    assert states[0].keys() == states[1].keys()
