"""Which checkpoints are kept, and whose weights are the best."""

import math
import shutil
from pathlib import Path

import pytest
from mmengine.hooks import CheckpointHook

from fx_mm.engine.hooks import CyclicCheckpointHook
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

TASKS = ['phantom_a/cls', 'phantom_c/seg']  # three passes a cycle
AUC, DICE = 'phantom_a/cls/AUC', 'phantom_c/seg/Dice_pos'
SHORT = {'tasks': ['phantom_a/cls'], 'cycle.max_batches': 1}


def hook(**options):
    return {
        f'default_hooks.checkpoint.{key}': value
        for key, value in options.items()
    }


def script(runner, monkeypatch, values):
    """Let the n-th validation give the n-th value of each result."""
    run = runner.val_loop._run_model

    def scripted():
        place = runner.epoch - 1
        return {**run(), **{name: of[place] for name, of in values.items()}}

    monkeypatch.setattr(runner.val_loop, '_run_model', scripted)


def names(folder, pattern='*.pth'):
    return {file.name for file in Path(folder).glob(pattern)}


def test_best_of_each_result_and_of_their_mean(make_runner, monkeypatch):
    runner = make_runner(
        tasks=TASKS,
        **{'train_cfg.val_unit': 'pass', 'cycle.max_batches': 1},
        **hook(save_best=[AUC, DICE, 'mean']),
    )
    values = {
        AUC: [0.5, 0.9, 0.1, math.nan, 0.2, 0.9],
        DICE: [0.1, 0.2, 0.8, 0.9, 0.85, 0.3],
    }
    # the mean: .3 .55 .45 - .525 .6
    best = {
        'best_phantom_a_cls_AUC_iter_2.pth': (2, 0.9),
        'best_phantom_c_seg_Dice_pos_iter_4.pth': (4, 0.9),
        'best_mean_iter_6.pth': (6, 0.6),
    }
    script(runner, monkeypatch, values)
    runner.train()
    assert names(runner.work_dir, 'best*') == set(best)
    info = runner.message_hub.runtime_info
    for key, (name, (epoch, score)) in zip([AUC, DICE, 'mean'], best.items()):
        saved = load_file(Path(runner.work_dir) / name)
        assert saved['meta']['epoch'] == epoch
        assert not {'optimizer', 'param_schedulers'} & set(saved)
        assert info[f'best_score_{key}'] == pytest.approx(score)
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert f'{AUC} is undefined in this validation' in log
    assert 'mean is undefined in this validation' in log


@pytest.mark.parametrize(
    'key, rule, better',
    [
        ('acc_top/reg/MAE', None, 'less'),
        ('student/loss/cls/AUC', None, 'greater'),
        ('a/loc/AP_40/loss of volume', None, 'greater'),
        ('mean/seg/Dice_pos', None, 'greater'),
        ('teacher/mean', None, 'greater'),
        ('a/cls/AUC', 'less', 'less'),
    ],
)
def test_rule_is_inferred_by_the_metric(key, rule, better):
    built = CyclicCheckpointHook(save_best=key, rule=rule)
    assert built.rules == [better]
    assert built.key_indicators == [key]
    assert built.is_better_than[key](1, 0) == (better == 'greater')


@pytest.mark.parametrize(
    'options, match',
    [
        (dict(save_best=3), 'should be a str or list of str'),
        (dict(save_best=[AUC, AUC]), 'duplicate element'),
        (dict(save_best='a/cls/oddity'), 'rule for key oddity'),
        (dict(save_best=AUC, rule='best'), 'rule must be greater, less'),
        (dict(unit='epoch'), 'checkpoint.unit is .epoch.'),
        (dict(interval=0), 'at least 1'),
        (dict(max_keep_ckpts=0), 'at least 1, or -1 to keep all'),
        (dict(max_keep_ckpts=-2), 'max_keep_ckpts is -2'),
        (dict(max_keep_ckpts=None), 'max_keep_ckpts is None'),
        (dict(max_keep_ckpts=1.5), 'max_keep_ckpts is 1.5'),
        (dict(by_epoch=True), 'by_epoch'),
        (dict(file_client_args={}), 'cannot be set at the same time'),
    ],
)
def test_malformed_options(options, match):
    with pytest.raises(UserError, match=match):
        CyclicCheckpointHook(**options)


@pytest.mark.parametrize(
    'key, match',
    [
        ('phantom_b/cls/AUC', 'begin with: phantom_a/cls, mean.'),
        ('student/phantom_a/cls/AUC', 'its results begin with'),
        ('student/mean', 'its results begin with'),
        (AUC, 'no validation'),
    ],
)
def test_save_best_of_what_is_not_validated(make_runner, key, match):
    off = {'val_cfg': None} if 'no val' in match else {}
    runner = make_runner(**SHORT, **hook(save_best=key), **off)
    with pytest.raises(UserError, match=match):
        runner.train()
    assert not runner.iter


def test_the_first_result_is_the_automatic_one(make_runner):
    runner = make_runner(
        **SHORT, **{'train_cfg.max_cycles': 1}, **hook(save_best='auto')
    )
    runner.train()
    assert names(runner.work_dir, 'best*') == {
        'best_phantom_a_cls_AUC_iter_1.pth'
    }


@pytest.mark.parametrize(
    'keep, left', [(1, {3}), (2, {2, 3}), (-1, {1, 2, 3})]
)
def test_how_many_are_kept(make_runner, keep, left):
    options = {'train_cfg.max_cycles': 3, **hook(max_keep_ckpts=keep)}
    runner = make_runner(**SHORT, **options)
    runner.train()
    assert names(runner.work_dir) == {f'iter_{i}.pth' for i in left}


def test_written_pointed_to_then_pruned(make_runner, monkeypatch):
    """A kill before the pruning leaves one more, which a resume prunes."""
    options = {'train_cfg.max_cycles': 2, **hook(max_keep_ckpts=1)}
    runner = make_runner(**SHORT, **options)

    def killed(self, names):
        if list(names):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CyclicCheckpointHook, '_remove', killed)
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    folder = Path(runner.work_dir)
    assert names(folder) == {'iter_1.pth', 'iter_2.pth'}
    assert find_checkpoint(folder) == str(folder / 'iter_2.pth')
    options['train_cfg.max_cycles'] = 3
    make_runner(**SHORT, **options, resume=True).train()
    assert names(folder) == {'iter_3.pth'}


def test_a_copied_folder_leaves_the_original_alone(
    make_runner, monkeypatch, tmp_path
):
    options = {'train_cfg.max_cycles': 2, **hook(save_best=AUC)}
    first = make_runner(work_dir='first', **SHORT, **options)
    script(first, monkeypatch, {AUC: [0.1, 0.2]})
    first.train()
    shutil.copytree(tmp_path / 'first', tmp_path / 'copy')
    before = names(tmp_path / 'first')
    options['train_cfg.max_cycles'] = 4
    again = make_runner(work_dir='copy', resume=True, **SHORT, **options)
    script(again, monkeypatch, {AUC: [0.1, 0.2, 0.3, 0.4]})
    again.train()
    assert names(tmp_path / 'first') == before
    assert names(tmp_path / 'copy') == {
        *('iter_3.pth', 'iter_4.pth'),
        'best_phantom_a_cls_AUC_iter_4.pth',
    }


def test_another_folder_is_found_again(make_runner, tmp_path):
    options = hook(out_dir=str(tmp_path / 'elsewhere'))
    runner = make_runner(**SHORT, **{'train_cfg.max_cycles': 1}, **options)
    runner.train()
    file = tmp_path / 'elsewhere' / 'work' / 'iter_1.pth'
    assert find_checkpoint(runner.work_dir) == str(file)
    again = make_runner(**SHORT, **options, resume=True)
    again.train()
    assert again.iter == 2
    assert names(file.parent) == {'iter_1.pth', 'iter_2.pth'}


def test_published_without_the_optimizer(make_runner):
    runner = make_runner(
        **SHORT,
        **{'train_cfg.max_cycles': 1},
        **hook(save_best=AUC, published_keys=['meta', 'state_dict']),
    )
    runner.train()
    published = sorted(Path(runner.work_dir).glob('*-????????.pth'))
    assert [file.name.split('-')[0] for file in published] == [
        'best_phantom_a_cls_AUC_iter_1',
        'iter_1',
    ]
    for file in published:
        assert set(load_file(file)) == {'meta', 'state_dict'}
    # it is no checkpoint to go on from
    assert find_checkpoint(runner.work_dir).endswith('iter_1.pth')


@pytest.mark.parametrize(
    'options, saved',
    [
        (dict(unit='pass', interval=2), [2, 4, 6]),
        (dict(unit='pass', interval=4), [4, 6]),
        (dict(unit='cycle', interval=1), [3, 6]),
        (dict(unit='cycle', interval=-1), [6]),
        (dict(unit='cycle', interval=1, save_begin=2), [6]),
        (dict(unit='iter', interval=4, save_last=False), [4]),
    ],
)
def test_units(make_runner, options, saved):
    runner = make_runner(
        tasks=TASKS,
        val_cfg=None,
        **{'cycle.max_batches': 1},
        **hook(max_keep_ckpts=-1, **options),
    )
    runner.train()
    assert names(runner.work_dir) == {f'iter_{i}.pth' for i in saved}


def test_a_validation_alone_saves_nothing(make_runner):
    runner = make_runner(**SHORT, **hook(save_best=AUC))
    runner.val_loop.run()
    assert not names(runner.work_dir)


def test_mmengines_options_are_there():
    built = CyclicCheckpointHook(save_optimizer=False, greater_keys='x')
    assert isinstance(built, CheckpointHook)
    assert not built.save_optimizer
    assert built.greater_keys == ('x',)
    remote = CyclicCheckpointHook(out_dir='s3://bucket/runs')
    assert remote.backend_args is None
    assert CyclicCheckpointHook().backend_args
