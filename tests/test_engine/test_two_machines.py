"""One training on two machines, which are network namespaces."""

import time

import pytest
import torch
from gradient_run import EXACT, check_steps, run
from small_run import small_cfg
from two_machines import TwoMachines

from fx_mm.config import PlainConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def machines(tmp_path):
    machines = TwoMachines(tmp_path)
    machines.lay_cable()
    yield machines
    machines.remove()


@pytest.fixture
def write(phantom_root, tmp_path):
    """Write a config; return its path."""

    def call(**options):
        cfg = small_cfg(phantom_root, tmp_path / 'two', **options)
        config = tmp_path / 'config.py'
        config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
        return config

    return call


def test_gradients_equal_those_of_one_process(
    machines, write, phantom_root, tmp_path
):
    config = write(**EXACT, launcher='pytorch')
    # a check beside the tools, which trains by the same script
    tool, out = '../tests/helpers/gradient_run', tmp_path / 'out'
    machines.train(config, out, TOOL=tool)
    cfg = small_cfg(phantom_root, tmp_path / 'one', **EXACT)
    for entry in cfg.task_defaults.values():
        entry.batch_size *= 2
    one = run(cfg)
    assert machines.wait(600) == [0, 0], machines.texts()
    assert one['steps']
    for rank in range(2):
        two = torch.load(f'{out}.{rank}', weights_only=False)
        check_steps(two['steps'], one['steps'])


def wait_for_cycle_two(machines):
    end = time.monotonic() + 300
    while 'cycle 2/' not in machines.texts()[0]:
        assert time.monotonic() < end, machines.texts()
        time.sleep(0.1)


def test_a_cut_cable_ends_both_with_a_sentence(machines, write):
    timeout = 10
    options = {
        'log_level': 'INFO',
        'tasks': ['phantom_a/cls', 'phantom_c/seg'],
        'train_cfg.max_cycles': 1000,
        'train_cfg.val_interval': 1000,
        'env_cfg.dist_cfg.timeout': timeout,
    }
    machines.train(write(**options))
    wait_for_cycle_two(machines)
    machines.cut_cable()
    begin = time.monotonic()
    codes = machines.wait(300)
    took = time.monotonic() - begin
    assert 0 not in codes
    for rank, text in enumerate(machines.texts()):
        assert f'error: Process {rank} lost another process of the' in text
    assert took < timeout + 60, took
    print(f'ended after {took:.0f} s')
