"""When is validated, and what."""

import math
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from fx_mm.apis import build_runner
from fx_mm.utils.errors import UserError

TASKS = ['phantom_a/cls', 'phantom_c/seg']  # three passes a cycle
SAVE_BEST = 'default_hooks.checkpoint.save_best'


class Watch(Hook):
    """Remember after which passes was validated, and what came out."""

    def __init__(self):
        self.seen = {}
        self.left = {}

    def after_train_epoch(self, runner):
        loop = runner.train_loop
        self.left[runner.epoch + 1] = loop.validations_left

    def after_val_epoch(self, runner, metrics=None):
        self.seen[runner.epoch] = metrics


def train(runner):
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return watch


@pytest.mark.parametrize(
    'options, passes',
    [
        (dict(val_interval=1), [3, 6]),
        (dict(val_interval=4), [6]),
        (dict(val_interval=2, val_unit='pass'), [2, 4, 6]),
        (dict(val_interval=4, val_unit='pass'), [4, 6]),
    ],
)
def test_interval_in_cycles_or_passes(make_runner, options, passes):
    runner = make_runner(
        tasks=TASKS,
        **{f'train_cfg.{key}': value for key, value in options.items()},
        **{'cycle.max_batches': 1},
    )
    watch = train(runner)
    assert list(watch.seen) == passes
    # what the ETA counts on
    for number, left in watch.left.items():
        assert left == sum(end >= number for end in passes)


@pytest.mark.parametrize(
    'options', [dict(val_unit='epoch'), dict(val_interval=0)]
)
def test_wrong_interval(make_cfg, options):
    options = {f'train_cfg.{key}': value for key, value in options.items()}
    with pytest.raises(UserError, match='train_cfg.val_'):
        build_runner(make_cfg(tasks=TASKS, **options))


def test_chosen_tasks_and_both_models(make_runner):
    runner = make_runner(
        tasks=TASKS,
        report=True,
        **{
            'train_cfg.max_cycles': 1,
            'cycle.max_batches': 1,
            'val_cfg.tasks': ['phantom_c/seg'],
            'val_cfg.predict_on': ['student', 'teacher'],
            SAVE_BEST: 'teacher/phantom_c/seg/Dice',
        },
    )
    metrics = train(runner).seen[3]
    starts = ('phantom_c/seg/', 'mean')
    starts += tuple(f'teacher/{start}' for start in starts)
    assert all(name.startswith(starts) for name in metrics)
    assert 'phantom_c/seg/Dice' in metrics
    assert 'teacher/phantom_c/seg/Dice' in metrics
    assert (
        Path(runner.work_dir) / 'best_teacher_phantom_c_seg_Dice_iter_3.pth'
    ).is_file()
    # the closing test has them all
    assert set(runner.test_loop.evaluators) == set(TASKS)


@pytest.mark.parametrize(
    'tasks, match',
    [
        (['phantom_c/sex'], '"phantom_c/sex", which is not active'),
        ([], 'val_cfg.tasks is empty'),
    ],
)
def test_unknown_tasks_are_refused(make_cfg, tasks, match):
    cfg = make_cfg(tasks=TASKS, **{'val_cfg.tasks': tasks})
    with pytest.raises(UserError, match=match):
        build_runner(cfg)


def test_means_of_headlines(make_runner, monkeypatch):
    runner = make_runner(
        tasks=['phantom_a/cls', 'phantom_b/cls', 'phantom_c/seg'],
        **{'val_cfg.predict_on': ['teacher', 'student']},
    )
    loop = runner.val_loop
    found = {
        'phantom_a/cls/AUC': 0.5,
        'phantom_b/cls/AUC': 0.75,
        'phantom_b/cls/AUC/Nodule': 0.1,
        'phantom_c/seg/Dice_pos': 0.25,
        'phantom_c/seg/Dice': 0.9,
    }
    results = iter([dict(found), {**found, 'phantom_b/cls/AUC': math.nan}])
    monkeypatch.setattr(loop, '_run_model', lambda: next(results))
    metrics = loop.run()
    assert list(metrics)[: len(found)] == list(found)
    assert metrics['mean/cls/AUC'] == 0.625
    assert metrics['mean/seg/Dice_pos'] == 0.25
    assert metrics['mean'] == 0.5
    assert math.isnan(metrics['student/mean/cls/AUC'])
    assert metrics['student/mean/seg/Dice_pos'] == 0.25
    assert math.isnan(metrics['student/mean'])
    assert len(metrics) == 2 * (len(found) + 3)


def test_a_dataset_must_not_be_called_like_a_mean(make_cfg):
    cfg = make_cfg()
    cfg.datasets.mean = cfg.datasets.pop('phantom_a')
    cfg.tasks = ['mean/cls']
    with pytest.raises(UserError, match='datasets.mean: .* another name'):
        build_runner(cfg)
