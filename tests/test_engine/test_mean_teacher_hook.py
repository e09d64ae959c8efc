"""The schedules of the teacher, and that they need no state."""

from math import cos, pi
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from pytest import approx

from fx_mm.engine.hooks import MeanTeacherHook
from fx_mm.registry import HOOKS
from fx_mm.utils.checkpoint import list_checkpoints, load_file
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
    with pytest.raises(
        UserError, match=f'MeanTeacherHook.* {name}=|{name} is'
    ):
        MeanTeacherHook(**options)


def test_a_decay_by_kind_is_that_of_the_pass():
    decay = dict(cls=0.5, seg=0.9)
    hook = MeanTeacherHook(decay)
    assert [hook.decay_at(0, 7, kind) for kind in decay] == [0.5, 0.9]
    hook = MeanTeacherHook(decay, schedule='cosine')
    plain = MeanTeacherHook(0.9, schedule='cosine')
    assert hook.decay_at(3, 7, 'seg') == plain.decay_at(3, 7)
    for wrong, message in (
        (dict(cls=2), 'MeanTeacherHook.decay.cls is 2'),
        (dict(mask=0.5), 'Unknown key "mask" in MeanTeacherHook.decay'),
    ):
        with pytest.raises(UserError, match=message):
            MeanTeacherHook(wrong)


@pytest.fixture
def run_tool(request):
    return request.getfixturevalue('run')


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


def run(make_runner, hook, work_dir, stop_at=None, resume=False, **more):
    hooks = [dict(type='LockReleaseHook'), hook]
    runner = make_runner(
        resume=resume,
        work_dir=work_dir,
        custom_hooks=hooks,
        **{**CYCLES, **more},
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


@pytest.mark.slow
@pytest.mark.parametrize('unit', ['pass', 'iter'])
def test_a_run_takes_the_decay_of_what_it_trained(make_runner, unit):
    decay = dict(cls=0.5, loc=0.7, seg=0.9)
    hook = dict(type='MeanTeacherHook', decay=decay, unit=unit)
    runner, whole = run(
        make_runner, hook, 'whole', **{'train_cfg.max_cycles': 1}
    )
    schedule = runner.train_loop.schedule
    kinds = [entry.task.partition('/')[2] for entry in schedule.passes]
    assert set(kinds) == {'cls', 'seg'}
    times = [1] * len(kinds) if unit == 'pass' else schedule.lengths
    assert whole.decays == [
        decay[kind] for kind, n in zip(kinds, times) for _ in range(n)
    ]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'cycle.order': 'concurrent'}, "has several; set unit='iter'"),
        ({'tasks': ['phantom_b/loc']}, 'has no "loc", which phantom_b/loc'),
    ],
)
def test_a_decay_by_kind_must_fit_the_tasks(make_runner, options, message):
    hook = dict(type='MeanTeacherHook', decay=dict(cls=0.5, seg=0.9))
    with pytest.raises(UserError, match=message):
        run(make_runner, hook, 'refused', **options)


def stored(work_dir):
    """Return the averages of a run's checkpoint, and the file."""
    files = list_checkpoints(work_dir)
    files.sort(key=lambda file: int(file.stem.removeprefix('iter_')))
    return load_file(files[-1])['averages'], files


@pytest.mark.slow
def test_averages_resume_to_the_bit(make_runner):
    hook = dict(type='MeanTeacherHook', unit='iter', averages=(0.05, 0.1))
    whole, _ = run(make_runner, hook, 'whole')
    cut, _ = run(make_runner, hook, 'cut', whole.max_iters // 2)
    run(make_runner, hook, 'cut', resume=True)
    (state, _), (resumed, _) = map(stored, (whole.work_dir, cut.work_dir))
    assert state['updates'] == resumed['updates'] == whole.max_iters
    for ours, theirs in zip(state['averages'], resumed['averages']):
        assert ours['width'] == theirs['width']
        for name, value in ours['weights'].items():
            assert torch.equal(value, theirs['weights'][name]), name


def test_any_width_is_made_of_averages(make_runner, run_tool, tmp_path):
    hook = dict(type='MeanTeacherHook', unit='iter', averages=(0.05, 0.1))
    whole, _ = run(make_runner, hook, 'whole', tasks=['phantom_a/cls'])
    state, files = stored(whole.work_dir)
    assert state['updates'] == whole.max_iters
    # a width that was stored is that average, the next lies between
    made = {}
    for width in (0.05, 0.07):
        out = tmp_path / f'{width}.pth'
        code, text, err = run_tool(
            'model_converters/synthesize_average',
            *(whole.work_dir, out, '--width', width),
        )
        assert code == 0, err
        assert f'from {len(files)} checkpoints' in text
        made[width] = load_file(out)
    assert made[0.05]['meta']['predict_on'] == 'teacher'
    assert made[0.07]['meta']['average']['width'] == 0.07
    narrow, wide = (each['weights'] for each in state['averages'])
    for name, value in narrow.items():
        torch.testing.assert_close(made[0.05]['state_dict'][name], value)
        gap = (wide[name] - value).abs().max()
        moved = (made[0.07]['state_dict'][name] - value).abs().max()
        assert moved <= 1.5 * gap + 1e-6
    model = whole.model
    model.load_state_dict(made[0.07]['state_dict'])
    assert torch.equal(
        model.state_dict()['teacher.' + name],
        made[0.07]['state_dict'][name],
    )
    code, _, err = run_tool(
        'model_converters/synthesize_average',
        *(whole.work_dir, tmp_path / 'no.pth', '--width', 0.01),
    )
    assert code == 1 and 'choose one between the stored widths' in err


def test_a_checkpoint_without_averages_is_no_riddle(
    make_runner, run_tool, tmp_path, caplog
):
    plain = dict(type='MeanTeacherHook')
    runner, _ = run(make_runner, plain, 'plain', 2, tasks=['phantom_a/cls'])
    code, _, err = run_tool(
        'model_converters/synthesize_average',
        *(runner.work_dir, tmp_path / 'no.pth', '--width', 0.07),
    )
    assert code == 1 and 'has no averages; train with' in err
    hook = dict(plain, averages=(0.1,))
    resumed, _ = run(
        make_runner, hook, 'plain', resume=True, tasks=['phantom_a/cls']
    )
    log = next(Path(resumed.log_dir).glob('*.log')).read_text()
    assert 'no averages of the widths 0.1' in log
    assert 0 < stored(resumed.work_dir)[0]['updates'] < 7


def test_without_it_the_models_own_weight_stays(make_runner):
    hook = dict(type='MeanTeacherHook')
    _, recorder = run(make_runner, hook, 'constant')
    assert recorder.decays == [0.8] * 6
    assert set(recorder.weights) == {0.5}
