"""A run that is killed again and again ends where it would have ended."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_run import small_cfg

from fx_mm.apis.config import PlainConfig
from fx_mm.utils.checkpoint import find_checkpoint, load_file

REPO = Path(__file__).parents[2]


def start(config, work):
    return subprocess.Popen(
        [
            *(sys.executable, 'tools/train.py', str(config)),
            *('--work-dir', str(work), '--resume'),
        ],
        cwd=REPO,
        env=dict(os.environ, PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_more(process, work, count):
    """Wait until there are new checkpoints, or the run is over."""
    before = find_checkpoint(work)
    seen = set()
    while process.poll() is None and len(seen) < count:
        newest = find_checkpoint(work)
        if newest != before:
            seen.add(newest)
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_lose_nothing(phantom_root, tmp_path):
    config = tmp_path / 'config.py'
    cfg = small_cfg(
        phantom_root,
        tmp_path / 'unused',
        **{
            'default_hooks.checkpoint.unit': 'iter',
            'tasks': ['phantom_a/cls', 'phantom_c/loc', 'phantom_c/seg'],
        },
    )
    cfg.pop('experiment_name')
    config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    assert start(config, whole).wait() == 0

    rng = random.Random(0)
    kills = 0
    while True:
        process = start(config, cut)
        wait_for_more(process, cut, rng.randint(1, 6))
        if kills == 6:
            assert process.wait() == 0
            break
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.wait()
        kills += 1
        found = find_checkpoint(cut)
        assert found is not None
        assert 'state_dict' in load_file(found)

    one, two = (
        load_file(find_checkpoint(work))['state_dict'] for work in (whole, cut)
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
