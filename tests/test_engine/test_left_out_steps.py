"""Steps that are left out because they are not finite."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from small_run import ONE_TASK, Watcher, log_of

from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError


class Spoil(Hook):
    """Make the loss of chosen iterations not finite."""

    def __init__(self, iterations):
        self.iterations = iterations

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        bad = runner.iter in self.iterations
        runner.model.student.loss_weights['phantom_a/cls'] = (
            float('nan') if bad else 1.0
        )


def test_a_step_that_is_not_finite_is_left_out(make_runner):
    runner = make_runner(**{**ONE_TASK, 'train_cfg.max_cycles': 2})
    runner.register_hook(Spoil({1, 2, 4}))
    lines = []
    runner.logger.warning = lines.append
    seen = []
    runner.register_hook(Watcher(lambda r: seen.append(r.train_loop.skipped)))
    runner.train()
    assert seen == [0, 1, 2, 0, 1, 0]
    left_out = [line for line in lines if 'left out' in line]
    assert len(left_out) == 3
    assert 'phantom_a/cls, iteration 2 of pass 1' in left_out[0]
    assert left_out[0].count('.png') == 4
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_too_many_steps_left_out_stop_with_a_checkpoint(make_runner):
    runner = make_runner(**ONE_TASK, **{'train_cfg.max_nonfinite_steps': 2})
    runner.register_hook(Spoil({1, 2}))
    with pytest.raises(UserError, match='2 steps in a row .* not finite'):
        runner.train()
    file = Path(runner.work_dir) / 'iter_3.pth'
    weights = load_file(file)['state_dict']
    assert all(v.isfinite().all() for v in weights.values())


def test_weights_that_are_not_finite_are_not_saved(make_runner):
    runner = make_runner(**ONE_TASK, **{'train_cfg.max_nonfinite_steps': 2})

    def spoil(runner):
        with torch.no_grad():
            next(runner.model.student.parameters()).fill_(float('nan'))

    runner.register_hook(Watcher(spoil))
    with pytest.raises(UserError, match='2 steps in a row'):
        runner.train()
    assert not list(Path(runner.work_dir).glob('iter_*.pth'))


def test_a_window_that_is_not_finite_is_left_out_as_a_whole(make_runner):
    runner = make_runner(
        **{
            **ONE_TASK,
            'train_cfg.max_cycles': 2,
            'optim_wrapper.accumulative_counts': 3,
            'log_level': 'INFO',
        }
    )
    runner.register_hook(Spoil({0}))
    runner.train()
    warnings = [x for x in log_of(runner).splitlines() if 'left out' in x]
    # one step of three batches in each pass, the first one spoiled
    assert len(warnings) == 1
    assert warnings[0].count('.png') == 12
    assert all(p.isfinite().all() for p in runner.model.state_dict().values())


def late(runner):
    """Let the loop look as rarely as on a GPU."""
    runner.train_loop.settle_interval = 100
    return runner


def run_spoiled(make_runner, work_dir, prepare):
    """Train on labels and masks; give warnings and checkpoints."""
    runner = make_runner(
        **{
            'work_dir': work_dir,
            'tasks': ['phantom_a/cls', 'phantom_c/seg'],
            'train_cfg.max_cycles': 2,
            'default_hooks.checkpoint.interval': 2,
            'default_hooks.checkpoint.unit': 'iter',
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'custom_hooks.1.unit': 'iter',
        }
    )
    prepare(runner)
    runner.register_hook(Spoil({0, 2}))
    lines = []
    runner.logger.warning = lines.append
    runner.train()
    files = sorted(Path(runner.work_dir).glob('iter_*.pth'))
    return lines, {file.name: load_file(file) for file in files}


@pytest.mark.slow
def test_a_late_look_changes_nothing(make_runner):
    """Neither weights nor running statistics, in any checkpoint."""
    lines, files = run_spoiled(make_runner, 'soon', lambda runner: runner)
    late_lines, late_files = run_spoiled(make_runner, 'late', late)
    assert len([line for line in lines if 'left out' in line]) == 2
    assert late_lines == lines
    assert len(files) > 3 and late_files.keys() == files.keys()
    for name, file in files.items():
        ours, theirs = file['state_dict'], late_files[name]['state_dict']
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        states = [f['optimizer']['state'] for f in (file, late_files[name])]
        for ours, theirs in zip(states[0].values(), states[1].values()):
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize('limit', [1, 2])
def test_a_late_look_stops_too(make_runner, limit):
    """The row that is too long counts, though a good step came after it."""
    runner = late(
        make_runner(**ONE_TASK, **{'train_cfg.max_nonfinite_steps': limit})
    )
    runner.register_hook(Spoil({0, 1}))
    with pytest.raises(UserError, match=f'iteration {limit} .*{limit} steps'):
        runner.train()
    assert runner.iter == 3
    weights = load_file(find_checkpoint(runner.work_dir))['state_dict']
    assert all(v.isfinite().all() for v in weights.values())


def test_a_stop_looks_first(make_runner):
    runner = late(make_runner(**{**ONE_TASK, 'train_cfg.max_cycles': 2}))
    runner.register_hook(Spoil({1}))
    lines = []
    runner.logger.warning = lines.append

    def stop(runner):
        if runner.iter == 1:
            runner.train_loop.stopped_by = 'SIGTERM'

    runner.register_hook(Watcher(stop))
    runner.train()
    assert runner.iter == 2
    assert len([line for line in lines if 'left out' in line]) == 1
