"""Two processes do what one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gradient_run import EXACT, TASKS, check_steps, run
from small_run import small_cfg

from fx_mm.config import PlainConfig
from fx_mm.engine.process_failures import lost_processes
from fx_mm.engine.runner import _expand_wrapper
from fx_mm.utils import dist
from fx_mm.utils.dist import start_processes
from fx_mm.utils.errors import UserError

REPO = Path(__file__).parents[2]
HELPERS = REPO / 'tests/helpers'
TEACHER_VIEW = dict(type='TeacherView')


def free_port():
    with socket.socket() as free:
        free.bind(('localhost', 0))
        return free.getsockname()[1]


def start_ranks(command, count=2, rename=None):
    """Start processes that find each other, without torchrun's agent."""
    port = str(free_port())
    processes = []
    for rank in range(count):
        places = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=count)
        env = dict(
            os.environ,
            PYTHONPATH=f'{REPO}:{HELPERS}',
            OMP_NUM_THREADS='1',
            SLURM_NODELIST='localhost',
            MASTER_ADDR='localhost',
            MASTER_PORT=port,
        )
        for name, value in places.items():
            env[(rename or {}).get(name, name)] = str(value)
        processes.append(
            subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=REPO,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes


def finish(processes, seconds=240):
    """Wait for all; give what they wrote."""
    try:
        return [p.communicate(timeout=seconds)[0] for p in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope='module')
def uneven(tmp_path_factory):
    """Return a config whose numbers of images two ranks cannot share."""
    root = tmp_path_factory.mktemp('uneven')

    def make(work_dir, batch_size, counts, views=1, **options):
        cfg = small_cfg(root, work_dir, **{**EXACT, **options})
        cfg.phantom.counts = counts
        for entry in cfg.task_defaults.values():
            entry.batch_size = batch_size
            if views == 2:
                steps = [TEACHER_VIEW, dict(type='RandomGamma', prob=1.0)]
                pipeline = entry.train_pipeline
                entry.train_pipeline = [*pipeline[:-1], *steps, pipeline[-1]]
        return cfg

    return make


@pytest.mark.slow
@pytest.mark.parametrize('views', [1, 2])
def test_gradients_and_metrics_equal_one_process(uneven, tmp_path, views):
    # 13 images are one batch of 8 and a rest, and less than two batches of
    # a loc task whose boxed images are fewer; one test image is less than
    # two ranks
    counts = dict(train=13, val=5, test=1)
    config = tmp_path / 'config.py'
    cfg = uneven(tmp_path / 'two', 4, counts, views, launcher='pytorch')
    config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
    out = tmp_path / 'out'
    ranks = start_ranks([HELPERS / 'gradient_run.py', config, out])
    one = run(uneven(tmp_path / 'one', 8, counts, views))
    texts = finish(ranks)
    for process, text in zip(ranks, texts):
        assert process.returncode == 0, text[-3000:]
    two = [torch.load(f'{out}.{rank}', weights_only=False) for rank in (0, 1)]

    modes = [(step['task'][-3:], step['mode']) for step in one['steps']]
    assert set(modes) == {
        ('cls', 'release'),
        *((kind, mode) for kind in ('loc', 'seg') for mode in MODES),
    }
    for rank in two:
        check_steps(rank['steps'], one['steps'])
        for key, value in two[0]['state'].items():
            assert torch.equal(rank['state'][key], value), key
    assert one['images'] == [5] * len(TASKS)
    for stage, values in one['metrics'].items():
        assert two[0]['metrics'][stage].keys() == values.keys()
        for key, value in values.items():
            for rank in two:
                assert rank['metrics'][stage][key] == pytest.approx(
                    value, abs=1e-4, nan_ok=True
                ), key


MODES = ('lock', 'release')


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_launcher_that_did_not_start_the_program(monkeypatch, launcher):
    for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=f'--launcher {launcher} needs'):
        start_processes(launcher)


def test_processes_that_cannot_reach_each_other(monkeypatch):
    monkeypatch.setattr(dist, '_init_on_cpus', unreachable)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in dist.NEEDED['pytorch']:
        monkeypatch.setenv(name, '0')
    with pytest.raises(UserError, match=r'\(timed out .* GLOO_SOCKET_IFNAME'):
        start_processes('pytorch')


def unreachable(*_, **__):
    raise RuntimeError(
        'Gloo connectFullMesh failed with [/a/gloo/pair.cc:152] timed out '
        'connecting: SO_ERROR: Connection refused, remote=[127.0.0.1]:7060'
    )


def test_torchrun_without_launcher(monkeypatch):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    with pytest.raises(UserError, match='add --launcher pytorch'):
        start_processes('none')


def test_sync_bn_needs_gpus(uneven, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = uneven(tmp_path, 4, None, sync_bn='torch')
    cfg.find_unused_parameters = True
    with pytest.raises(UserError, match='runs on GPUs only'):
        _expand_wrapper(cfg)
    cfg.sync_bn = None
    _expand_wrapper(cfg)
    assert cfg.model_wrapper_cfg['device_ids'] is None
    assert cfg.custom_hooks[0]['type'] == 'SyncStatisticsHook'


@pytest.mark.parametrize(
    'text, sentence',
    [
        (
            'DataLoader worker (pid 7) is killed by signal: Killed. ',
            r'images died \(DataLoader worker \(pid 7\) is killed',
        ),
        (
            '[/a/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by '
            'peer [::1]:1. This is typically caused by a crash',
            r'Process 0 lost .* \(Connection closed by peer \[::1\]:1\); look',
        ),
        (
            'Application timeout caused pair closure',
            r'Process 0 lost .* \(Application timeout caused pair closure\)',
        ),
    ],
)
def test_lost_processes(text, sentence):
    with pytest.raises(UserError, match=sentence), lost_processes():
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match='shape'), lost_processes():
        raise RuntimeError('wrong shape')


SUMS = """
import sys
import torch
from fx_mm.utils.dist import count_per_rank, start_processes, sum_over_ranks
start_processes(sys.argv[1])
rank = torch.distributed.get_rank()
ours = torch.tensor(3.0 + rank, requires_grad=True)
total, other = sum_over_ranks(ours, torch.tensor(1.0))
(total**2).backward()
assert (total.item(), other.item(), ours.grad.item()) == (7, 2, 28)
assert float(count_per_rank(torch.tensor(4 * rank))) == 2
assert float(count_per_rank(torch.tensor(0))) == 0.5
torch.distributed.destroy_process_group()
"""
OTHERS = dict(
    slurm=dict(
        RANK='SLURM_PROCID',
        LOCAL_RANK='SLURM_LOCALID',
        WORLD_SIZE='SLURM_NTASKS',
    ),
    mpi=dict(
        RANK='OMPI_COMM_WORLD_RANK',
        LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK',
        WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize('launcher', ['pytorch', *OTHERS])
def test_sums_under_each_launcher(launcher):
    """The environment of srun and mpirun is imitated."""
    ranks = start_ranks(
        ['-c', SUMS, launcher], rename=OTHERS.get(launcher, {})
    )
    texts = finish(ranks)
    assert [p.returncode for p in ranks] == [0, 0], texts
