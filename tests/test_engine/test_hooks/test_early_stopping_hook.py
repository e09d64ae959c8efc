"""The training ends where it gets no better."""

from pathlib import Path

import pytest
from mmengine.hooks import Hook

from fx_mm.apis import build_runner
from fx_mm.engine.hooks import CyclicEarlyStoppingHook
from fx_mm.utils.errors import UserError

TASK = 'phantom_a/cls'
HOOK = 'default_hooks.early_stopping'


class MadeUp(Hook):
    """Put made-up results in place of the validation's, for each pass."""

    priority = 'VERY_HIGH'

    def __init__(self, values, key):
        self.values, self.key, self.passes = values, key, []

    def after_val_epoch(self, runner, metrics=None):
        assert self.key in metrics
        metrics[self.key] = self.values[runner.epoch - 1]
        self.passes.append(runner.epoch)


def options(monitor='mean', cycles=6, **hook):
    return {
        'tasks': [TASK],
        'train_cfg.max_cycles': cycles,
        'cycle.max_batches': 1,
        HOOK: dict(type='CyclicEarlyStoppingHook', monitor=monitor, **hook),
    }


def train(make_runner, values, resume=False, report=False, **kwargs):
    runner = make_runner(resume=resume, report=report, **options(**kwargs))
    hook = MadeUp(values, kwargs.get('monitor', 'mean'))
    runner.register_hook(hook)
    runner.train()
    return runner, hook.passes


NAN = float('nan')


@pytest.mark.parametrize(
    'values, passes, hook',
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1, 2, 3, 4, 5, 6], {}),
        ([0.5, 0.4, 0.5, 0.9, 0.9, 0.9], [1, 2, 3, 4, 5, 6], {}),
        ([0.5, 0.4, 0.3, 0.9, 0.9, 0.9], [1, 2, 3], {}),
        # undefined is neither better nor worse
        ([NAN, 0.5, NAN, 0.4, 0.3, 0.9], [1, 2, 3, 4, 5], {}),
        ([0.5, 0.54, 0.55, 0.9, 0.9, 0.9], [1, 2, 3], dict(min_delta=0.1)),
        ([0.1, 0.9, 0.9, 0.9, 0.9, 0.9], [1, 2], dict(stopping_threshold=0.8)),
        ([0.5, 0.6, 0.7, 0.1, 0.1, 0.1], [1, 2, 3], dict(rule='less')),
    ],
)
def test_stops_after_the_patience(values, passes, hook):
    """Against the hook alone: a run each would take long."""

    class Loop:
        stop_training = False

    class Runner:
        train_loop, epoch = Loop(), 0

        class logger:
            info = warning = staticmethod(lambda text: None)

        class message_hub:
            runtime_info = {}

            @classmethod
            def update_info(cls, key, value):
                cls.runtime_info[key] = value

        class val_loop:
            predict_on, evaluators = ['teacher'], {TASK: None}

    Runner.message_hub.runtime_info.clear()
    early = CyclicEarlyStoppingHook(patience=2, **hook)
    early.before_train(Runner)
    seen = []
    for number, value in enumerate(values, 1):
        early.after_val_epoch(Runner, {'mean': value})
        seen.append(number)
        if Runner.train_loop.stop_training:
            break
    assert seen == passes


@pytest.mark.slow
def test_a_run_closes_with_its_report_and_goes_on_counting(make_runner):
    """Two cycles, then resumed for six."""
    falling = [0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    _, passes = train(make_runner, falling, cycles=2, patience=3)
    assert passes == [1, 2]
    runner, passes = train(
        make_runner, falling, resume=True, report=True, patience=3
    )
    assert passes[-1] == 4, 'two waits before the resume, one after'
    assert not set(passes) & {1, 5, 6}
    folder = Path(runner.work_dir)
    assert (folder / 'results.json').is_file()
    assert (folder / 'iter_4.pth').is_file()
    # once more: nothing is left to train
    _, passes = train(make_runner, falling, resume=True, patience=3)
    assert passes == []


@pytest.mark.slow
def test_any_loss_of_the_validation(make_runner):
    monitor = f'{TASK}/val/loss'
    runner = make_runner(
        **options(monitor=monitor, cycles=5, patience=1),
        **{'val_cfg.losses': True},
    )
    hook = MadeUp([0.5, 0.4, 0.45, 0.1, 0.1], monitor)
    runner.register_hook(hook)
    runner.train()
    assert hook.passes == [1, 2, 3]


@pytest.mark.slow
def test_mmengines_own_hook_stops_too(make_runner):
    runner = make_runner(
        **{
            **options(cycles=4),
            HOOK: dict(
                type='mmengine.EarlyStoppingHook',
                monitor=f'{TASK}/AUC',
                patience=1,
                min_delta=0.0,
            ),
        }
    )
    hook = MadeUp([0.5, 0.4, 0.9, 0.9], f'{TASK}/AUC')
    runner.register_hook(hook)
    runner.train()
    assert hook.passes == [1, 2]


@pytest.mark.parametrize(
    'hook, match',
    [
        (dict(monitor='phantom_b/loc/mAP'), 'early_stopping.monitor is "ph'),
        (dict(monitor='mean', patience=0), 'early_stopping.patience'),
        (dict(monitor=f'{TASK}/n_classes'), 'early_stopping.rule'),
        (dict(monitor='mean', rule='more'), 'early_stopping.rule'),
        (dict(monitor=f'{TASK}/val/loss'), 'does not give'),
    ],
)
def test_mistakes_are_named(make_cfg, hook, match):
    with pytest.raises(UserError, match=match):
        build_runner(make_cfg(**options(cycles=1, **hook))).train()
