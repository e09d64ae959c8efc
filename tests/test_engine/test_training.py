"""Training as users run it: passes, locks, teacher, stop and resume."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from small_run import ONE_TASK, Watcher, log_of, small_cfg

from fx_mm.apis import build_runner, dry_run
from fx_mm.engine.loops import seed_iteration, train_loop
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

EACH_KIND = {
    'tasks': [
        'phantom_a/cls',
        'phantom_b/cls',
        'phantom_b/loc',
        'phantom_c/seg',
    ]
}


def differing(one, two):
    assert one.keys() == two.keys()
    return [k for k in one if not torch.equal(one[k], two[k])]


def final_state(runner):
    return load_file(find_checkpoint(runner.work_dir))['state_dict']


@pytest.fixture(scope='module')
def whole(phantom_root, tmp_path_factory):
    """Train without a stop and remember the state of each pass."""
    work = tmp_path_factory.mktemp('whole')
    runner = build_runner(small_cfg(phantom_root, work, **EACH_KIND))
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

    runner.register_hook(Watcher(watch))
    runner.train()
    return runner, seen


def test_passes_lock_what_the_plan_says(whole):
    runner, seen = whole
    everything = {n for n, _ in runner.model.student.named_parameters()}
    for task, mode, trained, _ in seen:
        if mode == 'release':
            assert trained == everything
        elif task.endswith('/seg'):
            assert trained and all('phantom_c' in n for n in trained)
        else:
            assert trained
            assert not any(n.startswith('backbone') for n in trained)
    modes = {(task, mode) for task, mode, *_ in seen}
    assert ('phantom_b/loc', 'lock') in modes
    assert ('phantom_b/cls', 'lock') not in modes


def test_locked_modules_are_in_eval_mode(whole):
    for _, mode, _, training in whole[1]:
        assert any(n.startswith('backbone') for n in training) == (
            mode == 'release'
        )


def test_everything_ends_trainable_and_the_teacher_follows(whole):
    model = whole[0].model
    assert all(p.requires_grad for p in model.student.parameters())
    assert not any(p.requires_grad for p in model.teacher.parameters())
    gaps = [
        (t - s).abs().max().item()
        for t, s in zip(model.teacher.parameters(), model.student.parameters())
    ]
    assert 0 < max(gaps) < 1


@pytest.mark.parametrize(
    'stop_at', [pytest.param(1, marks=pytest.mark.slow), 5]
)
def test_a_stop_signal_and_resume_change_nothing(whole, make_runner, stop_at):
    def kick(runner):
        if runner.iter + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    cut = make_runner(**EACH_KIND)
    cut.register_hook(Watcher(kick))
    cut.train()
    assert cut.train_loop.stopped_by == 'SIGTERM'
    assert signal.getsignal(signal.SIGTERM) is before
    saved = load_file(find_checkpoint(cut.work_dir))
    assert saved['meta']['iter'] == cut.iter == stop_at

    resumed = make_runner(resume=True, **EACH_KIND)
    resumed.train()
    assert resumed.iter == whole[0].iter
    assert not differing(final_state(resumed), final_state(whole[0]))


def test_a_report_says_what_came_out(whole):
    runner, _ = whole
    metrics = runner.test()
    folder = Path(runner.work_dir)
    for name in ('results.csv', 'results.md', 'curves.png', 'predictions.png'):
        assert (folder / name).stat().st_size > 100
    saved = json.loads((folder / 'results.json').read_text())
    assert saved['schema_version'] == 2
    for prefix in ('', 'student/'):
        assert f'{prefix}phantom_b/loc/mAP_40' in metrics
        assert 0 <= metrics[f'{prefix}phantom_c/seg/Dice_pos/organs'] <= 1


def test_lines_of_passes_name_task_lock_losses_and_eta(make_runner):
    runner = make_runner(log_level='INFO', **ONE_TASK)
    runner.train()
    (line,) = (x for x in log_of(runner).splitlines() if 'cycle 1/1' in x)
    for part in ('phantom_a/cls', 'release', '3 it', 'loss_cls', 'ETA'):
        assert part in line


@pytest.mark.slow
def test_workers_do_not_change_the_result(make_runner):
    states = []
    for workers in (0, 2):
        runner = make_runner(
            work_dir=str(workers),
            **{
                'loader.num_workers': workers,
                'train_cfg.max_cycles': 1,
                'tasks': ['phantom_a/cls', 'phantom_b/loc'],
            },
        )
        runner.train()
        states.append(final_state(runner))
    assert not differing(*states)


@pytest.mark.slow
def test_a_checkpoint_at_the_end_of_a_pass_resumes(make_runner):
    tasks = dict(tasks=['phantom_a/cls', 'phantom_b/cls'])
    whole = make_runner(
        work_dir='whole',
        **tasks,
        **{
            'default_hooks.checkpoint.unit': 'iter',
            'default_hooks.checkpoint.max_keep_ckpts': 99,
        },
    )
    whole.train()
    end_of_pass = whole.train_loop.schedule.start(1)
    path = Path(whole.work_dir) / f'iter_{end_of_pass}.pth'
    assert load_file(path)['meta']['epoch'] == 0
    resumed = make_runner(resume=str(path), **tasks)
    resumed.train()
    assert not differing(final_state(resumed), final_state(whole))


def test_validation_lost_to_a_kill_is_made_up(make_runner):
    def killed():
        raise KeyboardInterrupt

    first = make_runner(**ONE_TASK)
    first._val_loop.run = killed
    with pytest.raises(KeyboardInterrupt):
        first.train()
    again = make_runner(resume=True, **ONE_TASK)
    again.train()
    assert again.val_loop.validated_pass == again.epoch == 1


def test_resume_with_nothing_there_says_so(make_runner):
    runner = make_runner(resume=True, **ONE_TASK)
    assert 'training starts from scratch' in log_of(runner)


def test_resume_shows_a_changed_config(make_runner):
    make_runner(**ONE_TASK).train()
    options = {**ONE_TASK, 'train_cfg.max_cycles': 2}
    runner = make_runner(resume=True, **options)
    runner.train()
    assert (
        "-train_cfg = {'type': 'CyclicTrainLoop', 'max_cycles': 1"
        in log_of(runner)
    )
    assert (
        "+train_cfg = {'type': 'CyclicTrainLoop', 'max_cycles': 2"
        in log_of(runner)
    )


def test_other_classes_are_refused_by_name(make_runner):
    runner = make_runner(**ONE_TASK)
    runner.train()
    path = find_checkpoint(runner.work_dir)
    saved = load_file(path)
    saved['meta']['tasks'][0]['classes'].reverse()
    torch.save(saved, path)
    with pytest.raises(UserError, match='"phantom_a/cls" in the checkpoint'):
        make_runner(resume=True, **ONE_TASK).train()


def test_whole_checkpoints_and_no_more_than_asked(make_runner):
    runner = make_runner(
        tasks=['phantom_a/cls'],
        **{
            'train_cfg.max_cycles': 3,
            'default_hooks.checkpoint.max_keep_ckpts': 2,
            'default_hooks.checkpoint.save_best': 'phantom_a/cls/n_classes',
            'default_hooks.checkpoint.rule': 'greater',
        },
    )
    runner.train()
    length = runner.train_loop.schedule.iters_per_cycle
    folder = Path(runner.work_dir)
    assert {f.name for f in folder.glob('*.pth')} == {
        f'iter_{2 * length}.pth',
        f'iter_{3 * length}.pth',
        f'best_phantom_a_cls_n_classes_iter_{length}.pth',
    }
    (best,) = folder.glob('best*')
    assert 'optimizer' not in load_file(best)
    assert not list(folder.glob('.*tmp'))


def test_save_best_names_what_there_is(make_runner):
    runner = make_runner(
        **{
            **ONE_TASK,
            'default_hooks.checkpoint.save_best': 'phantom_a/cls/AUCK',
        }
    )
    with pytest.raises(UserError, match='it gives: phantom_a/cls/AUC'):
        runner.train()


def test_ema_hook_beside_the_teacher_is_refused(make_cfg):
    cfg = make_cfg(**ONE_TASK)
    cfg.custom_hooks.append(dict(type='EMAHook'))
    with pytest.raises(UserError, match='EMAHook stands beside'):
        build_runner(cfg).train()


def test_dry_run_writes_no_checkpoint(make_runner):
    runner = make_runner()
    text = dry_run(runner)
    assert 'phantom_c/seg' in text
    assert 'a cycle takes about' in text
    assert not list(Path(runner.work_dir).glob('*.pth'))


def test_tf32_is_off_unless_it_is_asked_for(make_runner):
    for asked in (True, None):
        make_runner(**ONE_TASK, **{'env_cfg.tf32': asked})
        assert torch.backends.cudnn.allow_tf32 is bool(asked)
        assert torch.backends.cuda.matmul.allow_tf32 is bool(asked)


def test_seeds_depend_on_rank_and_iteration():
    draws = set()
    for rank in (0, 1):
        for iteration in (0, 1):
            seed_iteration(7, rank, iteration)
            draws.add(torch.rand(1).item())
    seed_iteration(7, 1, 1)
    assert len(draws) == 4
    assert torch.rand(1).item() in draws


def test_a_new_run_in_an_old_folder_keeps_its_own_checkpoint(make_runner):
    folder = Path(make_runner(**ONE_TASK).work_dir)
    for number in (500, 600):
        (folder / f'iter_{number}.pth').write_bytes(b'an older run')
    runner = make_runner(**ONE_TASK)
    runner.train()
    newest = find_checkpoint(folder)
    assert Path(newest).name == f'iter_{runner.iter}.pth'
    assert load_file(newest)['meta']['iter'] == runner.iter


def test_an_unchanged_resume_warns_of_nothing(make_runner):
    make_runner(**ONE_TASK).train()
    runner = make_runner(resume=True, **ONE_TASK)
    runner.train()
    assert 'config differs' not in log_of(runner)


@pytest.mark.slow
def test_a_longer_schedule_on_resume_has_its_own_rates(make_runner):
    make_runner(**ONE_TASK).train()
    options = {**ONE_TASK, 'train_cfg.max_cycles': 3}
    resumed = make_runner(resume=True, **options)
    rates = []
    resumed.register_hook(
        Watcher(
            lambda runner: rates.append(
                runner.optim_wrapper.optimizer.param_groups[0]['lr']
            )
        )
    )
    resumed.train()
    scheduler = resumed.param_schedulers[0]
    assert scheduler.max_cycles == 3
    base = scheduler.base_values[0]
    expected = [base * scheduler.factor(c) for c in (1, 2) for _ in range(3)]
    assert rates == pytest.approx(expected), (rates, expected)


def test_load_from_is_no_resume(make_runner, tmp_path):
    other = make_runner(work_dir='other', **ONE_TASK)
    other.train()
    path = find_checkpoint(other.work_dir)
    options = {**ONE_TASK, 'load_from': path}
    runner = make_runner(resume=True, **options)
    runner.load_or_resume()
    assert runner.iter == 0
    assert not differing(runner.model.state_dict(), final_state(other))

    runner.train()
    again = make_runner(resume=True, **options)
    again.load_or_resume()
    assert again.iter == runner.iter == again.max_iters
    assert not differing(again.model.state_dict(), final_state(runner))


def test_a_signal_to_the_group_ends_without_a_traceback(make_runner):
    runner = make_runner(**{**ONE_TASK, 'loader.num_workers': 1})
    run_epoch = runner.train_loop.run_epoch
    iterators = []

    def keep(batches):
        iterators.append(batches)
        run_epoch(batches)

    def kick(runner):
        os.kill(os.getpid(), signal.SIGTERM)
        for worker in iterators[0]._workers:
            os.kill(worker.pid, signal.SIGTERM)

    runner.train_loop.run_epoch = keep
    runner.register_hook(Watcher(kick))
    runner.train()
    assert runner.train_loop.stopped_by == 'SIGTERM'
    assert runner.iter < runner.max_iters


def test_the_rate_scales_with_the_batch(make_runner):
    runner = make_runner(
        **ONE_TASK,
        auto_scale_lr=dict(enable=True, base_batch_size=2),
        **{'optim_wrapper.accumulative_counts': 2},
    )
    rates = []
    runner.register_hook(
        Watcher(
            lambda runner: rates.append(
                runner.optim_wrapper.optimizer.param_groups[-1]['lr']
            )
        )
    )
    base = runner.cfg.optim_wrapper.optimizer.lr
    mult = runner.optim_wrapper.optimizer.param_groups[-1]['lr'] / base
    runner.train()
    scheduler = runner.param_schedulers[0]
    # a batch of 4, twice, where the rate is meant for 2
    assert rates[0] == pytest.approx(4 * base * mult * scheduler.factor(0))


def test_hooks_that_a_config_lost_are_missed(make_cfg):
    cfg = make_cfg()
    cfg.custom_hooks = [dict(type='EmptyCacheHook')]
    with pytest.raises(UserError, match='no LockReleaseHook'):
        build_runner(cfg)
    cfg.cycle.lock = 'none'
    with pytest.raises(UserError, match='no MeanTeacherHook'):
        build_runner(cfg)


def test_files_of_others_are_left_alone(make_runner):
    runner = make_runner(
        **ONE_TASK, **{'default_hooks.checkpoint.max_keep_ckpts': 1}
    )
    mine = Path(runner.work_dir) / 'iter_3_backup.pth'
    mine.write_bytes(b'mine')
    runner.train()
    assert mine.read_bytes() == b'mine'
    assert find_checkpoint(runner.work_dir).endswith('iter_3.pth')


def test_images_that_other_ranks_cannot_read_count(make_runner, monkeypatch):
    theirs = [('phantom_a/cls', f'{i}.png: cut short') for i in range(2)]
    monkeypatch.setattr(
        train_loop, 'all_gather_object', lambda ours: [ours, theirs]
    )
    runner = make_runner(
        **ONE_TASK,
        **{'train_cfg.max_unreadable_ratio': 0.1, 'log_level': 'INFO'},
    )
    runner.train_loop.sampler.world_size = 2
    with pytest.raises(UserError, match='2 images cannot be read'):
        runner.train_loop._share_bad_images()
    assert log_of(runner).count('an unreadable image was replaced') == 2
