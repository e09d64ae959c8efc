"""A run that is killed again and again ends where it would have ended."""

import json
import os
import random
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
HELPERS = REPO / 'tests/helpers'
MOMENTS = ['lock', 'val', 'save'] * 3 + ['release']
BEST = 'phantom_c/seg/Dice'


def start(config, work, workers=0):
    work.mkdir(exist_ok=True)
    with (work / 'output').open('a') as output:
        return subprocess.Popen(
            [
                *(sys.executable, str(HELPERS / 'killed_run.py')),
                *(str(config), str(work), str(workers)),
            ],
            env=dict(os.environ, PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
            stdout=output,
            stderr=output,
        )


def kill_at(process, work, phase, number, delay):
    """Kill a run the n-th time that it is in a phase from now on.

    Returns:
        bool: Whether it came to that.
    """
    phases = work / 'phases'

    def count():
        lines = phases.read_text() if phases.is_file() else ''
        return lines.split().count(phase)

    wanted = count() + number
    while count() < wanted:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    return process.wait() < 0


def differences(one, two, where=''):
    """Name what differs in two nested states."""
    if isinstance(one, dict) and isinstance(two, dict):
        found = [f'{where}: keys'] if one.keys() != two.keys() else []
        shared = [(k, one[k], two[k]) for k in one if k in two]
    elif isinstance(one, list | tuple) and len(one) == len(two):
        found, shared = [], list(zip(range(len(one)), one, two))
    elif torch.is_tensor(one):
        return [] if torch.equal(one, two) else [where]
    else:
        return [] if one == two else [where]
    for key, a, b in shared:
        found += differences(a, b, f'{where}/{key}')
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('other_workers', [False, True])
def test_kills_lose_nothing(phantom_root, tmp_path, other_workers):
    config = tmp_path / 'config.py'
    cfg = small_cfg(
        phantom_root,
        tmp_path / 'unused',
        **{
            'default_hooks.checkpoint.unit': 'iter',
            'default_hooks.checkpoint.save_best': BEST,
            'train_cfg.val_unit': 'pass',
            'tasks': ['phantom_a/cls', 'phantom_c/loc', 'phantom_c/seg'],
        },
    )
    cfg.pop('experiment_name')
    config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    assert start(config, whole).wait() == 0

    rng = random.Random(int(other_workers))
    moments = rng.sample(MOMENTS, len(MOMENTS))
    for moment in moments:
        workers = rng.randint(0, 2) if other_workers else 0
        process = start(config, cut, workers)
        number = rng.randint(1, 2)
        delay = rng.random() * 0.02
        assert kill_at(process, cut, moment, number, delay), (
            f'over before a kill in "{moment}"'
        )
        found = find_checkpoint(cut)
        # the very first one may have been in the writing
        assert found is None or 'state_dict' in load_file(found)
    assert start(config, cut).wait() == 0

    one, two = (load_file(find_checkpoint(work)) for work in (whole, cut))
    # student and teacher, optimizer, rates, best value, position
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert not differences(one[part], two[part], part)
    position = [(c['meta']['epoch'], c['meta']['iter']) for c in (one, two)]
    assert position[0] == position[1]
    best = [
        c['message_hub']['runtime_info'][f'best_score_{BEST}']
        for c in (one, two)
    ]
    assert best[0] == best[1]
    one, two = (
        load_file(file) for work in (whole, cut) for file in work.glob('best*')
    )
    assert not differences(one['state_dict'], two['state_dict'])
    one, two = (
        json.loads((work / 'results.json').read_text())['metrics']
        for work in (whole, cut)
    )
    assert one == two
    assert set(one) == {'teacher', 'student'}
