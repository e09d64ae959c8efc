"""Resuming with other tasks, batch sizes or schedulers."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from fx_mm.utils.checkpoint import load_file
from fx_mm.utils.errors import UserError

ONE_TASK = {'tasks': ['phantom_a/cls'], 'train_cfg.max_cycles': 1}


class Watcher(Hook):
    """Call a function before each iteration."""

    def __init__(self, function):
        self.function = function

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.function(runner)


def log_of(runner):
    return next(Path(runner.log_dir).glob('*.log')).read_text()


@pytest.mark.parametrize(
    'tasks, changes',
    [
        pytest.param(
            ['phantom_a/cls', 'phantom_b/loc', 'phantom_b/cls'],
            'with the new task phantom_b/cls',
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ['phantom_b/loc'],
            'without phantom_a/cls',
            marks=pytest.mark.slow,
        ),
        (
            ['phantom_b/loc', 'phantom_c/cls'],
            'without phantom_a/cls and with the new task phantom_c/cls',
        ),
    ],
)
def test_a_task_is_added_or_dropped(make_runner, tasks, changes):
    first = make_runner(
        tasks=['phantom_a/cls', 'phantom_b/loc'],
        **{'train_cfg.max_cycles': 2},
    )
    first.train()
    state = first.optim_wrapper.optimizer.state
    before = {
        name: (p.detach().clone(), state[p]['exp_avg'].clone())
        for name, p in first.model.student.named_parameters()
    }
    again = make_runner(
        resume=True, tasks=tasks, **{'train_cfg.max_cycles': 3}
    )
    seen = {}

    def look(runner):
        if seen:
            return
        seen['position'] = runner.epoch, runner.iter
        seen['cycle'] = runner.train_loop.cycle
        state = runner.optim_wrapper.optimizer.state
        for name, p in runner.model.student.named_parameters():
            if name in before:
                assert torch.equal(p, before[name][0]), name
                assert torch.equal(state[p]['exp_avg'], before[name][1]), name
            else:
                assert p not in state

    again.register_hook(Watcher(look))
    again.train()
    schedule = again.train_loop.schedule
    assert seen['cycle'] == 2
    assert seen['position'] == (
        2 * schedule.passes_per_cycle,
        2 * schedule.iters_per_cycle,
    )
    assert f'training goes on {changes} at the beginning of cycle 3' in (
        log_of(again)
    )
    assert 'do not match exactly' not in log_of(again)
    assert again.val_loop.validated_pass == again.epoch == again.max_epochs


@pytest.mark.slow
def test_another_batch_size_begins_the_cycle_anew(make_runner):
    options = {**ONE_TASK, 'train_cfg.max_cycles': 3}
    first = make_runner(**options, **{'default_hooks.checkpoint.unit': 'iter'})
    first.train()
    path = sorted(Path(first.work_dir).glob('iter_*.pth'))[0]
    assert load_file(str(path))['meta']['iter'] == 8
    again = make_runner(
        resume=str(path),
        **{**options, 'task_defaults.cls.batch_size': 6},
    )
    iterations = []
    again.register_hook(Watcher(lambda r: iterations.append(r.iter)))
    again.train()
    assert iterations == [4, 5]
    assert 'with other passes at the beginning of cycle 3' in log_of(again)


def test_other_schedulers_cannot_be_moved(make_runner):
    make_runner(
        **ONE_TASK, param_scheduler=[dict(type='ConstantLR', factor=0.5)]
    ).train()
    again = make_runner(
        resume=True,
        tasks=['phantom_a/cls', 'phantom_b/cls'],
        param_scheduler=[dict(type='ConstantLR', factor=0.5)],
    )
    with pytest.raises(UserError, match='use CycleCosineLR'):
        again.train()


def test_resume_needs_no_pretrained_file(make_runner, tmp_path):
    first = make_runner(**ONE_TASK)
    weights = first.model.student.backbone.state_dict()
    file = tmp_path / 'pretrained.pth'
    torch.save(dict(state_dict=weights), file)
    init = dict(type='Pretrained', checkpoint=str(file))
    options = {**ONE_TASK, 'model.student.backbone.init_cfg': init}
    make_runner(**options).train()
    file.unlink()
    options['train_cfg.max_cycles'] = 2
    again = make_runner(resume=True, **options)
    again.train()
    assert again.epoch == 2


def test_another_batch_size_under_a_cap_begins_the_cycle_anew(make_runner):
    options = {**ONE_TASK, 'cycle.max_batches': 2, 'train_cfg.max_cycles': 2}
    first = make_runner(**options, **{'default_hooks.checkpoint.unit': 'iter'})
    first.train()
    path = str(Path(first.work_dir) / 'iter_3.pth')
    again = make_runner(
        resume=path, **{**options, 'task_defaults.cls.batch_size': 3}
    )
    iterations = []
    again.register_hook(Watcher(lambda r: iterations.append(r.iter)))
    again.train()
    assert iterations == [2, 3]


def test_changed_settings_of_the_optimizer_hold(make_runner):
    make_runner(**ONE_TASK).train()
    again = make_runner(
        resume=True,
        **{
            **ONE_TASK,
            'train_cfg.max_cycles': 2,
            'optim_wrapper.optimizer.weight_decay': 0.5,
        },
    )
    again.train()
    decays = {
        group['weight_decay']
        for group in again.optim_wrapper.optimizer.param_groups
    }
    assert decays == {0.0, 0.5}


@pytest.mark.parametrize('seed', [None, 5])
def test_a_resumed_run_draws_from_the_seed_it_began_with(make_runner, seed):
    first = make_runner(**ONE_TASK, **{'randomness.seed': 3})
    first.train()
    again = make_runner(
        resume=True,
        **{**ONE_TASK, 'train_cfg.max_cycles': 2, 'randomness.seed': seed},
    )
    again.train()
    assert again.seed == again.train_loop.sampler.seed == 3


@pytest.mark.parametrize('part', ['whole', 'student'])
def test_weights_to_start_from_must_fit(make_runner, tmp_path, part):
    first = make_runner(**ONE_TASK)
    model = first.model if part == 'whole' else first.model.student
    file = tmp_path / 'start.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), file)
    options = {**ONE_TASK, 'load_from': str(file)}
    started = make_runner(**options)
    started.load_or_resume()
    for name, weight in first.model.student.state_dict().items():
        for half in (started.model.student, started.model.teacher):
            assert torch.equal(half.state_dict()[name], weight)
    other = make_runner(**options, **{'model.student.backbone.embed_dims': 32})
    with pytest.raises(UserError, match='use the model config it was'):
        other.load_or_resume()
    torch.save(dict(state_dict=dict(x=torch.ones(1)), meta={}), file)
    with pytest.raises(UserError, match='no weight that this model has'):
        make_runner(**options).load_or_resume()


def test_a_missing_file_to_start_from_is_seen_at_once(make_runner):
    with pytest.raises(UserError, match='"no.pth", which does not exist'):
        make_runner(**ONE_TASK, load_from='no.pth')
