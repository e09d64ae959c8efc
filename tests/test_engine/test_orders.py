"""Orders of tasks: locks, clipping, logs, resume and workers in each."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from small_run import small_cfg

from fx_mm.apis import build_runner, dry_run, expand_config
from fx_mm.engine.optimizers.optim_wrapper import MultiTaskOptimWrapper
from fx_mm.registry import TRANSFORMS
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

TASKS = ['phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg']
SHORT = {
    'tasks': TASKS,
    'train_cfg.max_cycles': 1,
    'task_defaults.loc.box_free_share': None,
}
RATIOS = {'phantom_a/cls': 1, 'loc': 2, 'seg': 1}
ORDERS = {
    'cyclic': 'cyclic',
    'shuffled': 'shuffled',
    'concurrent': 'concurrent',
    'ratios': dict(RATIOS, _delete_=True),
}


@TRANSFORMS.register_module()
class MarkWorker:
    """Write the process that made a sample into it."""

    def __call__(self, results):
        results['data_samples'].set_metainfo(dict(worker=os.getpid()))
        return results


class Watcher(Hook):
    """Call a function at each iteration, before it and after."""

    def __init__(self, after=None, before=None):
        self.functions = after, before

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.functions[1]:
            self.functions[1](runner, data_batch['data_samples'])

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        if self.functions[0]:
            self.functions[0](runner, data_batch['data_samples'])


def final_state(runner):
    return load_file(find_checkpoint(runner.work_dir))


def equal(one, two):
    """Whether nested states are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(
            equal(one[k], two[k]) for k in one
        )
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    return torch.equal(one, two) if torch.is_tensor(one) else one == two


def same_result(one, two):
    return all(
        equal(one[part], two[part]) for part in ('state_dict', 'optimizer')
    )


@pytest.fixture(scope='module')
def mixed(phantom_root, tmp_path_factory):
    """Train in a mixed order and note each step's task, lock and clipping."""
    options = {
        **SHORT,
        'cycle.order': 'uniform',
        'log_level': 'INFO',
        'optim_wrapper.clip_grad.loc.max_norm': 0.1,
        'optim_wrapper.clip_grad.seg': None,
    }
    work = tmp_path_factory.mktemp('mixed')
    runner = build_runner(small_cfg(phantom_root, work, **options))
    seen = []

    def watch(runner, samples):
        student = runner.model.student
        seen.append(
            dict(
                task=samples[0].task,
                of=runner.train_loop.current_pass,
                clip=runner.optim_wrapper.clip_grad_kwargs,
                trained={
                    part.name
                    for part in student.param_groups()
                    for name, p in student.named_parameters()
                    if part.owns(name) and p.requires_grad
                },
                in_training=student.backbone.training,
            )
        )

    runner.register_hook(Watcher(watch))
    runner.train()
    return runner, seen


def test_a_mixed_pass_has_one_lock_state_for_all_its_tasks(mixed):
    runner, seen = mixed
    assert [step['of'].mode for step in seen] == ['lock'] * 2 + ['release'] * 9
    everything = {part.name for part in runner.model.student.param_groups()}
    for step in seen:
        assert step['of'].task == 'mixed'
        if step['of'].mode == 'release':
            assert step['trained'] == everything
            assert step['in_training']
            continue
        assert not step['in_training']
        owners = {name.split('/', 1)[0] for name in step['trained']}
        assert owners == {'phantom_a', 'phantom_b', 'phantom_c'}
        assert {'phantom_b/loc/decoder', 'phantom_c/seg/head'} <= step[
            'trained'
        ]


def test_a_mixed_cycle_shares_its_steps(mixed):
    steps = Counter((s['of'].mode, s['task']) for s in mixed[1])
    assert steps == {
        ('lock', 'phantom_b/loc'): 1,
        ('lock', 'phantom_c/seg'): 1,
        **{('release', task): 3 for task in TASKS},
    }


def test_clipping_follows_the_batch(mixed):
    clips = dict(cls=1.0, loc=0.1, seg=None)
    for step in mixed[1]:
        kind = step['task'].rsplit('/', 1)[1]
        assert (step['clip'] or {}).get('max_norm') == clips[kind]


def test_the_line_of_a_mixed_pass_gives_each_tasks_loss(mixed):
    runner, _ = mixed
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    lock, release = (x for x in log.splitlines() if 'cycle 1/1' in x)
    assert 'mixed            lock' in lock and '2 it' in lock
    assert 'phantom_a/cls' not in lock
    assert 'mixed            release' in release and 'ETA' in release
    for task in TASKS:
        assert f'{task} loss ' in release


def test_scalars_stay_under_each_tasks_name(mixed):
    runner, _ = mixed
    (path,) = Path(runner.log_dir).glob('vis_data/2*.json')
    keys = set().union(*map(json.loads, path.read_text().splitlines()))
    assert {
        'phantom_a/cls/loss_cls',
        'phantom_b/loc/loss_bbox',
        'phantom_b/loc/lock/loss_bbox',
        'phantom_c/seg/lock/loss',
    } <= keys
    assert not any('mixed' in key for key in keys)


@pytest.mark.parametrize('mode', ['lock', 'lock_plus', 'release'])
def test_the_plan_of_a_mixed_pass_is_that_of_its_tasks(mixed, mode):
    student = mixed[0].model.student
    locked = set(student.freeze_plan('mixed', mode))
    for part in student.param_groups():
        users = [
            task
            for task in student.task_names
            if part.task == task
            or part.name == 'backbone'
            or part.name.startswith(
                dict(cls='cla', loc='localization/', seg='seg')[task[-3:]]
            )
        ]
        assert users
        plans = [part.name in student.freeze_plan(t, mode) for t in users]
        assert (part.name in locked) == any(plans)


@pytest.mark.slow
@pytest.mark.parametrize('order, stop_at', [('shuffled', 2), ('ratios', 6)])
def test_resume_inside_a_pass_changes_nothing(make_runner, order, stop_at):
    options = {
        'tasks': TASKS,
        'train_cfg.max_cycles': 2,
        'cycle.order': ORDERS[order],
        'val_cfg': None,
    }
    runner = make_runner(work_dir='whole', **options)
    runner.train()
    # in the second cycle, whose order may be another
    stop_at += runner.train_loop.schedule.iters_per_cycle

    def kick(runner, samples):
        if runner.iter + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    cut = make_runner(**options)
    cut.register_hook(Watcher(kick))
    cut.train()
    assert cut.iter == stop_at
    resumed = make_runner(resume=True, **options)
    resumed.train()
    assert resumed.iter == runner.iter
    assert same_result(final_state(resumed), final_state(runner))


def samples_of(runner):
    """Train and give each iteration's task, images and workers."""
    seen = []

    def watch(runner, samples):
        seen.append(
            (
                samples[0].task,
                [sample.img_id for sample in samples],
                {sample.worker for sample in samples},
            )
        )

    runner.register_hook(Watcher(before=watch))
    runner.train()
    return seen


@pytest.mark.parametrize(
    'name',
    [
        'cyclic',
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ORDERS
            if name != 'cyclic'
        ),
    ],
)
def test_workers_start_once_and_change_nothing(make_cfg, name):
    runs = []
    for workers in (0, 2):
        cfg = make_cfg(
            work_dir=str(workers),
            **{
                'tasks': TASKS[:2],
                'train_cfg.max_cycles': 2,
                'cycle.order': ORDERS[name],
                'loader.num_workers': workers,
                'loader.persistent_workers': True,
                'val_cfg': None,
            },
        )
        for entry in cfg.task_defaults.values():
            entry.train_pipeline.append(dict(type='MarkWorker'))
        runner = build_runner(cfg)
        runs.append((samples_of(runner), final_state(runner)))
    (alone, state), (shared, other) = runs
    assert [step[:2] for step in alone] == [step[:2] for step in shared]
    assert same_result(state, other)
    pids = [pids for _, _, pids in shared]
    # a batch is made by one worker, in turn, across the passes' borders
    assert len(set.union(*pids)) == 2 and os.getpid() not in pids[0]
    assert pids[::2] == pids[:1] * len(pids[::2])
    assert pids[1::2] == pids[1:2] * len(pids[1::2])


def test_a_dry_run_tries_each_task_of_a_mixed_pass(make_runner):
    options = {**SHORT, 'cycle.order': 'concurrent', 'cycle.lock': 'plus'}
    runner = make_runner(**options)
    text = dry_run(runner)
    rows = [line.split()[:3] for line in text.splitlines() if 's/step' in line]
    assert rows == [
        *([task, 'lock_plus', '1'] for task in TASKS),
        *([task, 'release', '3'] for task in TASKS),
    ]


def test_a_task_added_to_a_mixed_cycle_is_named(make_runner):
    options = {'cycle.order': 'concurrent', 'val_cfg': None}
    options['train_cfg.max_cycles'] = 1
    first = make_runner(tasks=['phantom_a/cls'], **options)
    first.train()
    lines = []
    options['train_cfg.max_cycles'] = 2
    runner = make_runner(
        resume=True, tasks=['phantom_a/cls', 'phantom_b/cls'], **options
    )
    runner.logger.warning = lines.append
    runner.load_or_resume()
    (line,) = [line for line in lines if 'The cycle differs' in line]
    assert 'with the new task phantom_b/cls at the beginning' in line
    assert runner.iter == runner.train_loop.schedule.iters_per_cycle == 6


@pytest.mark.parametrize(
    'order, message',
    [
        ('random', 'cycle.order is "random"; it must be one of cyclic, '),
        ({'phantom_a/clz': 1}, 'did you mean "phantom_a/cls"'),
        ({'cls': 1, 'loc': 1}, 'no weight for the task "phantom_c/seg"'),
    ],
)
def test_mistakes_in_the_order(make_cfg, order, message):
    cfg = make_cfg(**SHORT)
    cfg.cycle.order = order
    with pytest.raises(UserError, match=message):
        expand_config(cfg)


def test_schedulers_know_the_passes_of_a_mixed_cycle(make_cfg):
    cfg = expand_config(make_cfg(**SHORT, **{'cycle.order': 'sqrt'}))
    assert cfg.param_scheduler[0].passes_per_cycle == 2


def test_an_update_of_several_kinds_is_clipped_by_the_strictest():
    weights = torch.nn.Parameter(torch.zeros(2))
    clips = dict(cls=dict(max_norm=2.0), loc=dict(max_norm=0.5))
    wrapper = MultiTaskOptimWrapper(
        torch.optim.SGD([weights], lr=1.0),
        accumulative_counts=2,
        clip_grad=clips,
    )
    wrapper.begin_pass(None, 0, 5)
    norms = []
    for kind in ('loc', 'seg', 'cls', 'seg', 'seg'):
        before = weights.detach().clone()
        wrapper.begin_step(f'a/{kind}')
        wrapper.update_params(100 * weights.sum())
        if wrapper.at_update:
            norms.append((weights - before).norm().item())
    assert norms == pytest.approx([0.5, 2.0, 100 * 2**0.5], rel=1e-4)
