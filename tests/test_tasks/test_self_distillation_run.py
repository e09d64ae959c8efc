"""The shipped config of self-distillation, cut to seconds."""

import json
import os
import signal
from pathlib import Path

import cv2
import pytest
import torch
from small_run import REPO, Watcher, small_cfg
from two_processes import train_in_two

from fx_mm.apis import build_runner
from fx_mm.engine.closing_report import ReportOptions
from fx_mm.utils.checkpoint import find_checkpoint, load_file

pytestmark = pytest.mark.slow
CONFIG = REPO / 'configs/ssl/self-distillation_tiny_phantom.py'
SMALL = {
    'model.student.self_supervision.prototypes': 16,
    'model.student.self_supervision.small_views': 1,
    'model.student.self_supervision.small_size': 32,
    'train_cfg.max_cycles': 1,
    'tasks': ['phantom_a/ssl', 'phantom_b/ssl'],
}
TASK = 'phantom_a/ssl'


@pytest.fixture(scope='module')
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp('distilled')

    def make_cfg(work, **options):
        options = {**SMALL, **options}
        return small_cfg(folder / 'data', folder / work, CONFIG, **options)

    return make_cfg


@pytest.fixture(scope='module')
def trained(make):
    runner = build_runner(make('whole'))
    runner.report_options = ReportOptions(resamples=20, save_predictions=True)
    runner.train()
    return runner


def state_of(runner):
    return load_file(find_checkpoint(runner.work_dir))['state_dict']


def test_the_report_has_neighbours(trained):
    work = Path(trained.work_dir)
    content = json.loads((work / 'results.json').read_text())
    found = content['metrics']['teacher'][TASK]
    assert 0 <= found['kNN_AUC'] <= 1 and 0 <= found['spread'] <= 1
    assert found['skill'] == pytest.approx(2 * found['kNN_AUC'] - 1)
    assert 'nearest other images' in (work / 'results.md').read_text()
    picture = cv2.imread(str(work / 'plots/teacher/phantom_a_ssl.png'))
    # images, not an empty plot
    assert (picture.reshape(-1, 3) < 128).mean() > 0.2


def test_the_centre_is_kept(trained):
    state = state_of(trained)
    center = state['student.self_supervision.heads.phantom_a.center']
    assert center.abs().sum() > 0


@pytest.mark.parametrize('stop_at', [1, 4])
def test_a_stop_and_resume_change_no_bit(trained, make, stop_at):
    def kick(runner):
        if runner.iter + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    cfg = make(f'cut{stop_at}', test_cfg=None)
    cut = build_runner(cfg)
    cut.register_hook(Watcher(kick))
    cut.train()
    assert cut.iter == stop_at
    resumed = build_runner(cfg, resume=True)
    resumed.train()
    wanted, found = state_of(trained), state_of(resumed)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_it_lives_beside_other_tasks(make):
    """One teacher, per step for all; its weight is by kind."""
    cfg = make(
        'beside',
        test_cfg=None,
        tasks=['phantom_a/cls', 'phantom_a/ssl'],
        **{'val_cfg.losses': True},
    )
    cfg.model.consistency_weight = dict(cls=0.5, ssl=1.0)
    runner = build_runner(cfg)
    runner.train()
    values = runner.val()
    assert 'phantom_a/cls/val/loss_cls' in values
    assert not any(key.startswith('phantom_a/ssl/val') for key in values)


def test_two_processes_agree(make, tmp_path):
    cfg = make('two', test_cfg=None)
    state = train_in_two(cfg, tmp_path)
    assert all(v.isfinite().all() for v in state.values())
