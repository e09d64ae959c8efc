"""When is validated, what, and whose best weights are kept."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook

from fx_mm.apis import build_runner
from fx_mm.engine.hooks.best import read_save_best
from fx_mm.utils.checkpoint import load_file
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
    starts = ('phantom_c/seg/', 'teacher/phantom_c/seg/')
    assert all(name.startswith(starts) for name in metrics)
    assert 'phantom_c/seg/Dice' in metrics
    assert 'teacher/phantom_c/seg/Dice' in metrics
    assert (Path(runner.work_dir) / 'best.pth').is_file()
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


def test_best_of_each_task_and_of_their_mean(make_runner, monkeypatch):
    auc, dice = 'phantom_a/cls/AUC', 'phantom_c/seg/Dice'
    mean = dict(name='mean', of=[auc, dice])
    runner = make_runner(
        tasks=TASKS,
        **{
            'train_cfg.val_unit': 'pass',
            'cycle.max_batches': 1,
            SAVE_BEST: [auc, dice, mean],
        },
    )
    values = {
        auc: [0.5, 0.9, 0.1, math.nan, 0.2, 0.9],
        dice: [0.1, 0.2, 0.8, 0.9, 0.85, 0.3],
    }
    best = dict(auc=2, dice=4, mean=6)  # the mean: .3 .55 .45 - .525 .6
    run = runner.val_loop._run_model

    def scripted():
        place = runner.epoch - 1
        return {**run(), **{name: of[place] for name, of in values.items()}}

    monkeypatch.setattr(runner.val_loop, '_run_model', scripted)
    runner.train()
    folder = Path(runner.work_dir)
    names = dict(
        auc='best_phantom_a_cls_AUC.pth',
        dice='best_phantom_c_seg_Dice.pth',
        mean='best_mean.pth',
    )
    assert {f.name for f in folder.glob('best*')} == set(names.values())
    for what, name in names.items():
        assert load_file(folder / name)['meta']['epoch'] == best[what]
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert f'{auc} is undefined in this validation' in log
    assert 'mean is undefined in this validation' in log


@pytest.mark.parametrize(
    'entry, match',
    [
        (3, 'save_best is 3; it must be the name'),
        ([], 'it must be the name'),
        ([3], 'save_best has 3; it must be'),
        (dict(name='mean'), 'it must be the name'),
        (dict(name='mean', of=[]), 'it must be the name'),
        (dict(name='mean', of='a/cls/AUC'), 'it must be the name'),
        (['a/cls/AUC', 'a/cls/AUC'], 'two entries "a/cls/AUC"'),
    ],
)
def test_malformed_save_best(entry, match):
    with pytest.raises(UserError, match=match):
        read_save_best(entry)


@pytest.mark.parametrize(
    'name, match',
    [
        ('phantom_b/cls/AUC', 'its results begin with: phantom_a/cls/'),
        ('student/phantom_a/cls/AUC', 'its results begin with'),
        (None, 'no validation'),
    ],
)
def test_save_best_of_what_is_not_validated(name, match):
    loop = name and SimpleNamespace(
        evaluators={'phantom_a/cls': None}, predict_on=['teacher']
    )
    (best,) = read_save_best(name or 'phantom_a/cls/AUC')
    with pytest.raises(UserError, match=match):
        best.check(loop)
