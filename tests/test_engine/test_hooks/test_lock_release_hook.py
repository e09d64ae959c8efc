"""What a pass locks, that it is released, and what the log says of it."""

from pathlib import Path

import pytest
from mmengine.hooks import Hook

from fx_mm.apis import build_runner
from fx_mm.engine.hooks.lock_release_hook import LockReleaseHook, describe
from fx_mm.models.param_groups import ParamGroup
from fx_mm.tasks import MIXED

TASKS = ['phantom_b/cls', 'phantom_b/loc', 'phantom_c/seg']
SHORT = {'cycle.max_batches': 1, 'val_cfg': None, 'log_level': 'INFO'}


class Watch(Hook):
    """Remember what is locked in each pass, while it trains."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, **kwargs):
        student = runner.model.student
        frozen = {
            group.name
            for group in student.param_groups()
            for name, p in student.named_parameters()
            if group.owns(name) and not p.requires_grad
        }
        assert frozen == set(student.locked)
        self.seen.append((*runner.train_loop.current_pass, student.locked))


def lines_of(runner):
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    return [
        line.split(' - INFO - ')[1]
        for line in log.splitlines()
        if ' locks ' in line
    ]


def train(runner):
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return watch.seen


def test_each_pass_has_its_own_state_and_the_first_lock_is_logged(make_runner):
    runner = make_runner(tasks=TASKS, **SHORT)
    seen = train(runner)
    passes = [(task, mode) for task, mode, _ in seen]
    assert passes[:5] == passes[5:] == list(runner.train_loop.schedule.passes)
    student = runner.model.student
    for task, mode, locked in seen:
        assert locked == student.freeze_plan(task, mode)
        assert bool(locked) == (mode == 'lock')
    assert not student.locked
    assert all(p.requires_grad for p in student.parameters())
    # once, not in each cycle; a release needs no line
    shared = 'backbone, classification, localization, segmentation'
    assert lines_of(runner) == [
        f'phantom_b/loc lock locks {shared}, parts of 2 other tasks',
        f'phantom_c/seg lock locks {shared}, parts of 2 other tasks',
    ]


@pytest.mark.parametrize(
    'cycle, expected',
    [
        (dict(lock='none'), []),
        (
            dict(lock='plus', order='concurrent'),
            ['mixed lock_plus locks', 'phantom_b/loc/decoder'],
        ),
        (
            dict(lock=[('phantom_b/loc', 'lock_plus')]),
            ['phantom_b/loc lock_plus locks', 'phantom_b/loc/decoder'],
        ),
    ],
)
def test_variants(make_runner, cycle, expected):
    options = {f'cycle.{key}': value for key, value in cycle.items()}
    runner = make_runner(
        tasks=['phantom_b/loc'],
        **SHORT,
        **options,
        **{'train_cfg.max_cycles': 1},
    )
    seen = train(runner)
    text = '\n'.join(lines_of(runner))
    assert bool(text) == bool(expected)
    for words in expected:
        assert words in text
    locks = {mode for _, mode, locked in seen if locked}
    assert locks == ({'lock_plus'} if expected else set())


@pytest.mark.slow
@pytest.mark.slow
def test_a_resumed_run_is_in_the_state_of_its_pass(make_runner):
    options = {
        **SHORT,
        'tasks': TASKS[1:],
        'train_cfg.max_cycles': 1,
        'default_hooks.checkpoint.unit': 'pass',
        'default_hooks.checkpoint.max_keep_ckpts': 9,
    }
    whole = make_runner(work_dir='whole', **options)
    states = train(whole)
    # after the first lock pass, and after its release
    for done in (1, 2):
        cut = Path(whole.work_dir) / f'iter_{done}.pth'
        again = make_runner(work_dir=f'cut_{done}', resume=str(cut), **options)
        assert train(again) == states[done:]


def test_it_is_needed_where_passes_lock(make_cfg):
    cfg = make_cfg(tasks=TASKS[1:])
    runner = build_runner(cfg)
    (hook,) = (h for h in runner.hooks if isinstance(h, LockReleaseHook))
    assert hook.priority == 'HIGH'


def test_description():
    groups = [
        ParamGroup('backbone', None, ('backbone',)),
        ParamGroup('localization/neck', None, ('localization.neck',)),
        ParamGroup('localization/encoder', None, ('localization.encoder',)),
        ParamGroup('a/loc/decoder', 'a/loc', ('a',), heavy=True),
        ParamGroup('a/loc/head', 'a/loc', ('h',)),
        ParamGroup('b/loc/head', 'b/loc', ('b',)),
        ParamGroup('c/loc/head', 'c/loc', ('c',)),
    ]
    shared = ['backbone', 'localization/neck', 'localization/encoder']
    for locked, text in (
        ([], 'nothing'),
        (shared, 'backbone, localization'),
        (shared[:2], 'backbone, localization/neck'),
        (
            [*shared, 'a/loc/decoder', 'b/loc/head', 'c/loc/head'],
            'backbone, localization, a/loc/decoder, parts of 2 other tasks',
        ),
        (
            [*shared, 'c/loc/head'],
            'backbone, localization, parts of 1 other task',
        ),
    ):
        assert describe(groups, locked, 'a/loc') == text
    text = describe(groups, [*shared, 'a/loc/decoder'], MIXED)
    assert text == 'backbone, localization, a/loc/decoder'
