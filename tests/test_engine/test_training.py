"""Training as users run it: passes, locks, teacher, stop and resume."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from fx_mm.apis import dry_run, write_report
from fx_mm.engine.loops import seed_iteration
from fx_mm.registry import HOOKS
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError


@HOOKS.register_module(force=True)
class CallHook:
    """Run a function after an iteration; a stand-in for the outside world."""

    priority = 'LOWEST'

    def __new__(cls, function):
        from mmengine.hooks import Hook

        class Caller(Hook):
            def after_train_iter(self, runner, batch_idx, **kwargs):
                function(runner)

        return Caller()


def states_equal(one, two):
    assert one.keys() == two.keys()
    return [k for k in one if not torch.equal(one[k], two[k])]


def final_state(runner):
    return load_file(find_checkpoint(runner.work_dir))['state_dict']


@pytest.fixture
def whole_run(make_runner):
    """Train once without a stop and watch each pass."""
    runner = make_runner(**{'train_cfg.max_cycles': 2})
    seen = []

    def watch(runner):
        student = runner.model.student
        seen.append(
            (
                *runner.train_loop.current_pass,
                {n for n, p in student.named_parameters() if p.requires_grad},
                {n for n, m in student.named_modules() if m.training},
            )
        )

    runner.register_hook(CallHook(watch))
    runner.train()
    return runner, seen


def test_passes_lock_what_the_plan_says(whole_run):
    runner, seen = whole_run
    student = runner.model.student
    everything = {n for n, _ in student.named_parameters()}
    for task, mode, trained, _ in seen:
        if mode == 'release':
            assert trained == everything
        elif task.endswith('/seg'):
            assert trained and all('phantom_c' in n for n in trained)
        else:
            assert not any(n.startswith('backbone') for n in trained)
    modes = {(task, mode) for task, mode, *_ in seen}
    assert ('phantom_b/loc', 'lock') in modes
    assert ('phantom_b/cls', 'lock') not in modes


def test_locked_modules_are_in_eval_mode(whole_run):
    _, seen = whole_run
    for _, mode, _, training in seen:
        assert any(n.startswith('backbone') for n in training) == (
            mode == 'release'
        )


def test_everything_ends_trained_and_the_teacher_follows(whole_run):
    runner, _ = whole_run
    model = runner.model
    assert all(p.requires_grad for p in model.student.parameters())
    assert not any(p.requires_grad for p in model.teacher.parameters())
    gaps = [
        (t - s).abs().max().item()
        for t, s in zip(model.teacher.parameters(), model.student.parameters())
    ]
    assert 0 < max(gaps) < 1


def test_a_report_says_what_came_out(whole_run):
    runner, _ = whole_run
    metrics = write_report(runner)
    folder = Path(runner.work_dir)
    for name in ('results.csv', 'results.md', 'curves.png', 'predictions.png'):
        assert (folder / name).stat().st_size > 100
    saved = json.loads((folder / 'results.json').read_text())
    assert saved['schema_version'] == 1
    for prefix in ('', 'student/'):
        assert f'{prefix}phantom_b/loc/mAP_40' in metrics
        assert 0 <= metrics[f'{prefix}phantom_c/seg/Dice_pos/organs'] <= 1


@pytest.mark.parametrize('stop_at', [1, 5])
def test_a_stop_signal_and_resume_change_nothing(
    make_runner, tmp_path, stop_at
):
    whole = make_runner(work_dir=str(tmp_path / 'whole'))
    whole.train()

    def kick(runner):
        if runner.iter + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    options = dict(work_dir=str(tmp_path / 'cut'))
    cut = make_runner(**options)
    cut.register_hook(CallHook(kick))
    cut.train()
    assert cut.train_loop.stopped_by == 'SIGTERM'
    assert cut.iter == stop_at
    saved = load_file(find_checkpoint(cut.work_dir))
    assert saved['meta']['iter'] == stop_at
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    resumed = make_runner(resume=True, **options)
    resumed.train()
    assert resumed.iter == whole.iter
    assert not states_equal(final_state(resumed), final_state(whole))


def test_workers_do_not_change_the_result(make_runner, tmp_path):
    states = []
    for workers in (0, 2):
        runner = make_runner(
            work_dir=str(tmp_path / str(workers)),
            **{
                'loader.num_workers': workers,
                'train_cfg.max_cycles': 1,
                'tasks': ['phantom_a/cls', 'phantom_b/loc'],
            },
        )
        runner.train()
        states.append(final_state(runner))
    assert not states_equal(*states)


def test_a_checkpoint_at_the_end_of_a_pass_resumes(make_runner, tmp_path):
    options = dict(
        work_dir=str(tmp_path / 'w'),
        tasks=['phantom_a/cls', 'phantom_b/cls'],
    )
    every = {
        'default_hooks.checkpoint.unit': 'iter',
        'default_hooks.checkpoint.max_keep_ckpts': 99,
    }
    whole = make_runner(**options, **every)
    whole.train()
    end_of_pass = whole.train_loop.schedule.start(1)
    path = Path(whole.work_dir) / f'iter_{end_of_pass}.pth'
    assert load_file(path)['meta']['epoch'] == 0
    expected = final_state(whole)
    options['work_dir'] = str(tmp_path / 'again')
    resumed = make_runner(resume=True, load_from=str(path), **options)
    resumed.train()
    assert not states_equal(final_state(resumed), expected)


def test_validation_lost_to_a_kill_is_made_up(make_runner, tmp_path):
    options = dict(work_dir=str(tmp_path / 'w'), tasks=['phantom_a/cls'])
    options['train_cfg.max_cycles'] = 1
    first = make_runner(**options)
    first._val_loop.run = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    again = make_runner(resume=True, **options)
    again.train()
    assert again.val_loop.validated_pass == again.epoch == 1


def test_resume_with_nothing_there_says_so(make_runner, caplog):
    runner = make_runner(resume=True)
    assert runner.iter == 0
    text = Path(runner.log_dir).glob('*.log')
    assert 'training begins anew' in next(text).read_text()


def test_resume_shows_a_changed_config(make_runner, tmp_path):
    options = dict(work_dir=str(tmp_path / 'w'), tasks=['phantom_a/cls'])
    options['train_cfg.max_cycles'] = 1
    make_runner(**options).train()
    options['train_cfg.max_cycles'] = 2
    runner = make_runner(resume=True, **options)
    runner.train()
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert '-train_cfg = dict(max_cycles=1' in log
    assert '+train_cfg = dict(max_cycles=2' in log


def test_other_classes_are_refused_by_name(make_runner, tmp_path):
    options = dict(work_dir=str(tmp_path / 'w'), tasks=['phantom_a/cls'])
    options['train_cfg.max_cycles'] = 1
    runner = make_runner(**options)
    runner.train()
    path = find_checkpoint(runner.work_dir)
    saved = torch.load(path, weights_only=False)
    saved['meta']['tasks'][0]['classes'].reverse()
    torch.save(saved, path)
    with pytest.raises(UserError, match='"phantom_a/cls" in the checkpoint'):
        make_runner(resume=True, **options).train()


def test_only_whole_checkpoints_and_no_more_than_asked(make_runner, tmp_path):
    runner = make_runner(
        tasks=['phantom_a/cls'],
        **{
            'train_cfg.max_cycles': 4,
            'default_hooks.checkpoint.max_keep_ckpts': 2,
            'default_hooks.checkpoint.save_best': 'phantom_a/cls/AUC',
        },
    )
    runner.train()
    files = {f.name for f in Path(runner.work_dir).glob('*.pth')}
    length = runner.train_loop.schedule.iters_per_cycle
    assert files == {f'iter_{3 * length}.pth', f'iter_{4 * length}.pth'} | (
        files & {'best.pth'}
    )
    assert not list(Path(runner.work_dir).glob('.*tmp'))


def test_save_best_names_what_there_is(make_runner):
    runner = make_runner(
        tasks=['phantom_a/cls'],
        **{'default_hooks.checkpoint.save_best': 'phantom_a/cls/AUK'},
    )
    with pytest.raises(UserError, match='it gives: phantom_a/cls/AUC'):
        runner.train()


def test_ema_hook_beside_the_teacher_is_refused(make_cfg, make_runner):
    from fx_mm.apis import build_runner

    cfg = make_cfg(tasks=['phantom_a/cls'])
    cfg.custom_hooks.append(dict(type='EMAHook'))
    with pytest.raises(UserError, match='EMAHook stands beside'):
        build_runner(cfg).train()


def test_a_loss_that_is_not_finite_stops(make_runner):
    runner = make_runner(tasks=['phantom_a/cls'])

    def spoil(runner):
        with torch.no_grad():
            next(runner.model.student.parameters()).fill_(float('nan'))

    runner.register_hook(CallHook(spoil))
    with pytest.raises(UserError, match='loss of phantom_a/cls is not finite'):
        runner.train()


def test_dry_run_writes_no_checkpoint(make_runner):
    runner = make_runner()
    text = dry_run(runner)
    assert 'phantom_c/seg' in text
    assert 'a cycle takes about' in text
    assert not list(Path(runner.work_dir).glob('*.pth'))


def test_seeds_depend_on_rank_and_iteration():
    draws = set()
    for rank in (0, 1):
        for iteration in (0, 1):
            seed_iteration(7, rank, iteration)
            draws.add(torch.rand(1).item())
    seed_iteration(7, 1, 1)
    assert len(draws) == 4
    assert torch.rand(1).item() in draws
