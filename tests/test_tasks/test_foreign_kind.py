"""A kind that a config imports from outside of fx_mm, through a whole run."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from small_run import CONFIG, small_cfg

from fx_mm.apis import FoundationXInferencer, build_runner, dry_run
from fx_mm.engine.closing_report import ReportOptions
from fx_mm.tasks import TASK_KINDS
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

TASK = 'phantom_a/bright'
TEXT = f"""
_base_ = ['{CONFIG}']
custom_imports = dict(imports=['fx_mm', 'foreign_kind'])
datasets = dict(
    phantom_a=dict(
        tasks=dict(
            bright=dict(
                classes=('mean',),
                splits=dict(train='train.csv', val='val.csv', test='test.csv'),
                tta='flip',
            )
        )
    )
)
tasks = ['phantom_a/cls', '{TASK}']
task_defaults = dict(bright={{{{_base_.task_defaults.cls}}}})
model = dict(student=dict(brightness=dict()))
optim_wrapper = dict(
    clip_grad=dict(bright=dict(max_norm=1.0)),
    paramwise_cfg=dict(
        custom_keys={{'brightness.heads': dict(lr_mult=2.0)}},
    ),
)
"""


class Watcher(Hook):
    """Remember what learns in each pass."""

    def __init__(self):
        self.seen = {}

    def after_train_iter(self, runner, batch_idx, **kwargs):
        student = runner.model.student
        self.seen[runner.train_loop.current_pass] = {
            name for name, p in student.named_parameters() if p.requires_grad
        }


class Kick(Hook):
    """Stop as a queue's scheduler would."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope='module', autouse=True)
def only_here():
    """Leave no kind to other modules' tests."""
    yield
    TASK_KINDS.module_dict.pop('bright', None)
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('foreign')
    (folder / 'bright.py').write_text(TEXT)
    return folder


@pytest.fixture(scope='module')
def make_cfg(folder):
    def make(work, **options):
        config = folder / 'bright.py'
        return small_cfg(folder / 'data', folder / work, config, **options)

    return make


@pytest.fixture(scope='module')
def trained(make_cfg):
    """A whole training: its runner, and what learned in which pass."""
    runner = build_runner(make_cfg('whole'))
    watcher = Watcher()
    runner.register_hook(watcher)
    runner.train()
    return runner, watcher.seen


def state_of(runner):
    return load_file(find_checkpoint(runner.work_dir))


def test_it_is_locked_and_released(trained):
    runner, seen = trained
    everything = {n for n, _ in runner.model.student.named_parameters()}
    head = {n for n in everything if n.startswith('brightness.heads')}
    assert seen == {
        ('phantom_a/cls', 'release'): everything,
        (TASK, 'lock'): head,
        (TASK, 'release'): everything,
    }
    assert len(head) == 2


def test_it_learns_and_the_teacher_follows(trained, make_cfg):
    runner, _ = trained
    fresh = build_runner(make_cfg('fresh'))
    fresh.init_model_weights()
    key = 'brightness.heads.phantom_a.weight'
    before = fresh.model.student.state_dict()[key]
    after = runner.model.student.state_dict()[key]
    followed = runner.model.teacher.state_dict()[key]
    assert not torch.equal(before, after)
    assert not torch.equal(followed, before)


@pytest.mark.slow
def test_it_is_resumed_to_the_bit(trained, make_cfg):
    whole, _ = trained
    # within the second pass of the cycle, which is locked
    stop_at = whole.train_loop.schedule.start(1) + 1
    cut = build_runner(make_cfg('cut'))
    cut.register_hook(Kick(stop_at))
    cut.train()
    assert cut.train_loop.stopped_by == 'SIGTERM'
    assert cut.train_loop.current_pass == (TASK, 'lock')
    resumed = build_runner(make_cfg('cut'), resume=True)
    assert resumed.resumed
    resumed.train()
    ours, theirs = state_of(resumed), state_of(whole)
    assert ours['meta']['iter'] == theirs['meta']['iter'] > stop_at
    assert ours['state_dict'].keys() == theirs['state_dict'].keys()
    for key, value in theirs['state_dict'].items():
        assert torch.equal(value, ours['state_dict'][key]), key


def test_it_stands_in_the_closing_table_and_is_drawn(trained):
    runner, _ = trained
    work = Path(runner.work_dir)
    table = (work / 'results.md').read_text()
    assert '| Cls AUC, student | Bright error, teacher | ' in table
    assert f'| {TASK} | mean | error | ' in table
    assert f'{TASK}: The error is over 4 images.' in table
    content = json.loads((work / 'results.json').read_text())
    assert content['tasks'][TASK]['kind'] == 'bright'
    assert 0 <= content['metrics']['teacher'][TASK]['error'] < 10
    for name in (
        'plots/teacher/phantom_a_bright.png',
        'predictions.png',
        'curves.png',
    ):
        assert (work / name).stat().st_size > 1000


def test_a_test_has_intervals_and_saves_predictions(trained, make_cfg):
    runner, _ = trained
    path = find_checkpoint(runner.work_dir)
    cfg = make_cfg('tested')
    tested = build_runner(cfg, train=False, checkpoint=path)
    tested.report_options = ReportOptions(resamples=50, save_predictions=True)
    metrics = tested.test()
    folder = Path(cfg.work_dir)
    content = json.loads((folder / 'results.json').read_text())
    found = content['metrics']['teacher'][TASK]['error']
    assert found == metrics[f'{TASK}/error']
    low, high = content['intervals']['teacher'][TASK]['error'].values()
    assert low <= found <= high
    saved = folder / 'predictions/test/teacher/phantom_a_bright.npz'
    with np.load(saved) as columns:
        gaps = np.abs(columns['truth'] - columns['pred'])
    assert gaps.mean() == pytest.approx(found)


def test_it_predicts_on_an_image(trained, folder, make_cfg):
    runner, _ = trained
    infer = FoundationXInferencer(
        make_cfg('infer'), find_checkpoint(runner.work_dir), tasks=[TASK]
    )
    image = folder / 'data/easy/hospital_a/images/test/000000.png'
    (result,) = infer(image)
    content = result.to_dict()['tasks'][TASK]
    assert content == dict(kind='bright', brightness=result[TASK].value)
    assert result.draw().shape[2] == 3


def test_made_up_samples_measure_it(make_cfg):
    cfg = make_cfg('dry', tasks=[TASK])
    text = dry_run(build_runner(cfg, synthetic=True))
    assert f'{TASK:<24}lock' in text and f'{TASK:<24}release' in text


def test_its_entry_is_checked(make_cfg):
    options = {'datasets.phantom_a.tasks.bright.scale': 0.0}
    with pytest.raises(UserError, match='tasks.bright.scale is 0'):
        build_runner(make_cfg('wrong', **options))
    options = {'datasets.phantom_a.tasks.cls.scale': 1.0}
    with pytest.raises(UserError, match='cls.scale is for bright tasks'):
        build_runner(make_cfg('other', **options))
