"""The unchanged tools of mmdet, mmseg and mmpretrain, and mim, on a config.

Each runs in a process of its own, and must leave what ours leave: the same
weights and the same results, bit for bit. A training ends with the results of
its test, and tools/test.py gives the same (test_train_test_predict.py).
mmseg's test.py is missing: it makes mmengine's Runner whatever ``runner_type``
says.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import REPO, small_cfg

from fx_mm.apis import build_runner, load_config

pytestmark = pytest.mark.slow

CONFIG = 'small.py'
MIM_NAME = 'onedl-mmdetection'
"""By its import name, mim does not find the maintained fork of mmdet."""


def stock(package, tool):
    """Path of a tool as a package ships it."""
    home = Path(importlib.util.find_spec(package).origin).parent
    return home / '.mim' / 'tools' / f'{tool}.py'


def call(folder, *words):
    """Run a command in a folder; its folder of results is the last word."""
    paths = [str(Path(sys.executable).parent), os.environ['PATH']]
    done = subprocess.run(
        list(map(str, words)),
        cwd=folder,
        env=dict(
            os.environ,
            PATH=os.pathsep.join(paths),
            PYTHONPATH=str(REPO),
            OMP_NUM_THREADS='1',
        ),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / words[-1]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a config that walks labels and boxes once."""
    folder = tmp_path_factory.mktemp('stock')
    cfg = small_cfg(
        folder / 'data',
        folder,
        **{
            'tasks': ['phantom_a/cls', 'phantom_b/loc'],
            'cycle.max_batches': 2,
            'train_cfg.max_cycles': 1,
            'custom_hooks': [
                dict(type='LockReleaseHook'),
                dict(type='MeanTeacherHook', decay=0.8),
            ],
        },
    )
    for key in ('work_dir', 'experiment_name'):
        cfg.pop(key)
    cfg.dump(folder / CONFIG)
    return folder


@pytest.fixture(scope='module')
def trained(folder):
    """Where a training by our own API left its results."""
    cfg = load_config(str(folder / CONFIG))
    cfg.work_dir = str(folder / 'ours')
    build_runner(cfg).train()
    return folder / 'ours'


def checkpoint_of(work_dir):
    return work_dir / (work_dir / 'last_checkpoint').read_text().strip()


def check_trained(work_dir, trained):
    """Compare weights, optimizer and results with those of our own tool."""
    ours, theirs = (
        torch.load(checkpoint_of(path), weights_only=False)
        for path in (trained, work_dir)
    )
    assert len(ours['state_dict']) > 400
    for key in ('state_dict', 'optimizer'):
        assert_same(ours[key], theirs[key], key)
    assert ours['meta']['iter'] == theirs['meta']['iter'] > 0
    check_results(work_dir, trained)


def assert_same(ours, theirs, where):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f'{where}.{key}')
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for i, pair in enumerate(zip(ours, theirs)):
            assert_same(*pair, f'{where}[{i}]')
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def check_results(work_dir, own):
    theirs, ours = (
        json.loads((folder / 'results.json').read_text())
        for folder in (work_dir, own)
    )
    assert 'phantom_b/loc' in ours['tasks']
    # a checkpoint holds the time of its training
    for content in (theirs, ours):
        del content['checkpoint_sha256']
    assert theirs == ours
    assert (work_dir / 'results.md').is_file()


@pytest.mark.parametrize(
    'package',
    [
        'mmdet',
        'mmseg',
        'mmpretrain',
    ],
)
def test_train(folder, trained, package):
    work_dir = call(
        folder, sys.executable, stock(package, 'train'), CONFIG,
        '--work-dir', package,
    )  # fmt: skip
    check_trained(work_dir, trained)


@pytest.mark.parametrize(
    'package',
    ['mmdet', 'mmpretrain'],
)
def test_test(folder, trained, package):
    work_dir = call(
        folder, sys.executable, stock(package, 'test'), CONFIG,
        checkpoint_of(trained), '--work-dir', f'{package}_tested',
    )  # fmt: skip
    check_results(work_dir, trained)


def test_mim_train(folder, trained):
    work_dir = call(
        folder, 'mim', 'train', MIM_NAME, CONFIG, '--gpus', 0,
        '--work-dir', 'mim',
    )  # fmt: skip
    check_trained(work_dir, trained)


def test_mim_test(folder, trained):
    work_dir = call(
        folder, 'mim', 'test', MIM_NAME, CONFIG, '--checkpoint',
        checkpoint_of(trained), '--gpus', 0, '--work-dir', 'mim_tested',
    )  # fmt: skip
    check_results(work_dir, trained)
