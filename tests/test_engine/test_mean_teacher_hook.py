"""The schedules of the teacher, and that they need no state."""

from math import cos, pi

import pytest
from mmengine.hooks import Hook
from pytest import approx

from fx_mm.engine.hooks import MeanTeacherHook
from fx_mm.registry import HOOKS
from fx_mm.utils.errors import UserError

CYCLES = {'tasks': ['phantom_a/cls', 'phantom_c/seg'], 'val_cfg': None}
CYCLES.update(val_dataloader=None, val_evaluator=None)
CYCLES['train_cfg.max_cycles'] = 2


def ark(**kwargs):
    return dict(
        type='MeanTeacherHook',
        decay=0.9,
        schedule='cosine',
        consistency_weight='cosine',
        **kwargs,
    )


def test_constant_is_the_default():
    hook = HOOKS.build(dict(type='MeanTeacherHook'))
    assert [hook.decay_at(t, 7) for t in range(7)] == [0.8] * 7
    assert hook.consistency_weight is None


@pytest.mark.parametrize('updates', [2, 6, 1200])
def test_cosine_schedules_are_arks(updates):
    """ark.md 2.2 and 2.3: first, middle, last and every other pass."""
    hook = MeanTeacherHook(0.9, schedule='cosine', consistency_weight='cosine')
    for t in range(updates):
        wave = 1 + cos(pi * t / updates)
        assert hook.decay_at(t, updates) == approx(1 + 0.5 * (0.9 - 1) * wave)
        weight = hook.consistency_at(t, updates)
        assert weight == approx(0.5 - 0.25 * wave)
    assert hook.decay_at(0, updates) == approx(0.9)
    assert hook.decay_at(updates // 2, updates) == approx(0.95)
    assert 0.95 <= hook.decay_at(updates - 1, updates) < 1
    assert hook.consistency_at(0, updates) == 0
    assert hook.consistency_at(updates // 2, updates) == approx(0.25)
    assert 0.25 - 1e-9 <= hook.consistency_at(updates - 1, updates) < 0.5


@pytest.mark.parametrize(
    'options',
    [
        dict(decay=1.1),
        dict(unit='epoch'),
        dict(schedule='linear'),
        dict(consistency_weight=0.5),
    ],
)
def test_wrong_options_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f'MeanTeacherHook has {name}='):
        MeanTeacherHook(**options)


class Recorder(Hook):
    """Notes each decay and consistency weight, and may stop the run."""

    priority = 'VERY_LOW'

    def __init__(self, stop_at=None):
        self.decays, self.weights, self.stop_at = [], [], stop_at

    def before_train(self, runner):
        update = runner.model.update_teacher

        def noted(decay):
            self.decays.append(decay)
            update(decay)

        runner.model.update_teacher = noted

    def after_train_iter(self, runner, batch_idx, **kwargs):
        self.weights.append(runner.model.consistency_weight)
        if runner.iter + 1 == self.stop_at:
            runner.train_loop.stopped_by = 'the test'


def run(make_runner, hook, work_dir, stop_at=None, resume=False):
    hooks = [dict(type='LockReleaseHook'), hook]
    runner = make_runner(
        resume=resume, work_dir=work_dir, custom_hooks=hooks, **CYCLES
    )
    recorder = Recorder(stop_at)
    runner.register_hook(recorder)
    runner.train()
    return runner, recorder


@pytest.mark.parametrize(
    'unit', ['pass', pytest.param('iter', marks=pytest.mark.slow)]
)
def test_a_run_follows_the_schedule_through_a_resume(make_runner, unit):
    hook = ark(unit=unit)
    runner, whole = run(make_runner, hook, 'whole')
    schedule = runner.train_loop.schedule
    passes, iters = runner.max_epochs, runner.max_iters
    assert passes == 6 and iters > passes
    total = {'pass': passes, 'iter': iters}[unit]
    assert whole.decays == approx(
        [1 - 0.05 * (1 + cos(pi * t / total)) for t in range(total)]
    )
    where = [schedule.locate(i)[0] for i in range(iters)]
    assert whole.weights == approx(
        [0.25 * (1 - cos(pi * t / passes)) for t in where]
    )

    # within a pass, behind its first iteration
    stop_at = next(
        i for i in range(iters // 2, iters) if schedule.locate(i)[1]
    )
    _, first = run(make_runner, hook, 'cut', stop_at)
    assert len(first.weights) == stop_at
    _, second = run(make_runner, hook, 'cut', resume=True)
    assert first.decays + second.decays == whole.decays
    assert first.weights + second.weights == whole.weights


def test_without_it_the_models_own_weight_stays(make_runner):
    hook = dict(type='MeanTeacherHook')
    _, recorder = run(make_runner, hook, 'constant')
    assert recorder.decays == [0.8] * 6
    assert set(recorder.weights) == {0.5}
