"""Images without annotation that the teacher labels, as users run them."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from small_run import Watcher, log_of, small_cfg
from two_processes import train_in_two

from fx_mm.apis import FoundationXInferencer, build_runner, dry_run
from fx_mm.engine.hooks.pseudo_label_hook import THRESHOLDS
from fx_mm.phantom import ensure_phantom
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError
from fx_mm.visualization.training_sheet import draw_training_sheets

pytestmark = pytest.mark.slow
SOURCES = ['phantom_b/cls', 'phantom_b/loc', 'phantom_c/seg']
REST = ['rest/cls', 'rest/loc', 'rest/seg']


@pytest.fixture(scope='module')
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pseudo')

    def make_cfg(work, **options):
        options.setdefault('train_cfg.max_cycles', 1)
        options.setdefault('test_cfg', None)
        root = folder / 'data'
        cfg = small_cfg(root, folder / work)
        cfg.datasets.rest = dict(
            data_root=f'{root}/easy/hospital_a/',
            img_dir='images/',
            tasks={
                source.partition('/')[2]: dict(
                    pseudo=source, splits=dict(train='train.csv')
                )
                for source in SOURCES
            },
        )
        cfg.tasks = [*SOURCES, *REST]
        hook = dict(type='PseudoLabelHook', min_score=0.0)
        cfg.custom_hooks = [*cfg.custom_hooks, hook]
        cfg.merge_from_dict(options)
        return cfg

    return make_cfg


@pytest.fixture(scope='module')
def trained(make):
    cfg = make('whole', **{'train_cfg.max_cycles': 2, 'log_level': 'INFO'})
    runner = build_runner(cfg)
    passes = {}

    def watch(runner):
        trained = {
            name
            for name, p in runner.model.student.named_parameters()
            if p.requires_grad
        }
        passes[runner.train_loop.current_pass[:2]] = trained

    runner.register_hook(Watcher(watch))
    runner.train()
    return runner, passes


def state_of(runner):
    return load_file(find_checkpoint(runner.work_dir))


def test_they_are_trained_and_have_no_head(trained):
    runner, passes = trained
    assert {(task, 'release') for task in REST} <= passes.keys()
    assert not any(mode == 'lock' for task, mode in passes if task in REST)
    assert all(p.isfinite().all() for p in runner.model.parameters())
    checkpoint = state_of(runner)
    assert [t['task'] for t in checkpoint['meta']['tasks']] == SOURCES
    assert not any('rest' in key for key in checkpoint['state_dict'])
    assert checkpoint[THRESHOLDS].keys() == {'phantom_b/loc', 'phantom_c/seg'}
    log = log_of(runner)
    assert 'rest/seg' in log and 'pseudo_share' in log
    assert 'Pseudo-labels by phantom_c/seg' in log


def test_a_checkpoint_predicts_as_any_other(trained):
    runner, _ = trained
    path = find_checkpoint(runner.work_dir)
    infer = FoundationXInferencer(None, path)
    assert [task.name for task in infer.tasks] == SOURCES
    root = Path(runner.cfg.datasets.phantom_a.data_root)
    (result,) = infer(root / 'images/test/000000.png')
    assert set(result.to_dict()['tasks']) == set(SOURCES)


# in a pass of a source, of each kind of pseudo-labels, behind a validation
@pytest.mark.parametrize('stop_at', [4, 14, 17, 20, 24])
def test_a_stop_and_resume_change_no_bit(trained, make, stop_at):
    def kick(runner):
        if runner.iter + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    cfg = make(f'cut{stop_at}', **{'train_cfg.max_cycles': 2})
    cut = build_runner(cfg)
    cut.register_hook(Watcher(kick))
    cut.train()
    assert cut.iter == stop_at
    resumed = build_runner(cfg, resume=True)
    resumed.train()
    whole, found = state_of(trained[0]), state_of(resumed)
    assert str(whole[THRESHOLDS]) == str(found[THRESHOLDS])
    wanted, found = whole['state_dict'], found['state_dict']
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_with_heads_locked_the_sources_head_learns(make):
    cfg = make('heads', **{'cycle.lock': 'heads'})
    cfg.tasks = ['phantom_c/seg', 'rest/seg']
    runner = build_runner(cfg)
    seen = {}

    def watch(runner):
        seen[runner.train_loop.current_pass.task] = {
            name
            for name, p in runner.model.student.named_parameters()
            if p.requires_grad
        }

    runner.register_hook(Watcher(watch))
    runner.train()
    assert seen['rest/seg'] and seen['rest/seg'] == seen['phantom_c/seg']
    assert all('heads.phantom_c' in name for name in seen['rest/seg'])


@pytest.mark.parametrize('order', ['shuffled', 'proportional'])
def test_they_mix_in_any_order(make, order):
    runner = build_runner(make(order, **{'cycle.order': order}))
    runner.train()
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_a_held_out_image_and_its_copy_are_refused(make):
    cfg = make('leak', tasks=['phantom_c/seg', 'rest/seg'])
    ensure_phantom(**cfg.phantom)
    root = Path(cfg.datasets.rest.data_root)
    names = (root / 'train.csv').read_text().splitlines()
    held_out = (root / 'test.csv').read_text().splitlines()[1]
    (root / 'leak.csv').write_text('\n'.join([*names, held_out]))
    splits = cfg.datasets.rest.tasks.seg.splits
    splits.train = 'leak.csv'
    with pytest.raises(UserError, match='The data leak: shared-images:'):
        build_runner(cfg)
    # of a dataset that is a test set elsewhere, under other names
    folder = root / 'images/others'
    folder.mkdir()
    name = held_out.split(',')[0]
    suffix = '' if name.endswith('.png') else '.png'
    shutil.copy(root / 'images' / f'{name}{suffix}', folder / 'a.png')
    splits.train = 'images/others'
    try:
        with pytest.raises(UserError, match='The data leak: same-content:'):
            build_runner(cfg)
    finally:
        shutil.rmtree(folder)


def test_all_but_what_is_held_out_of_a_folder(make):
    cfg = make('folder', tasks=['phantom_b/cls', 'rest/cls'])
    ensure_phantom(**cfg.phantom)
    splits = cfg.datasets.rest.tasks.cls.splits
    splits.update(train='images', val='val.csv', test='test.csv')
    runner = build_runner(cfg)
    names = runner.train_dataloader.dataset.datasets[1].data_list
    names = list(names.column('img_id'))
    assert names and not any(n.startswith(('val', 'test')) for n in names)


def test_what_is_missing_is_said(make):
    cfg = make('hook')
    cfg.custom_hooks = cfg.custom_hooks[:-1]
    with pytest.raises(UserError, match='no PseudoLabelHook'):
        build_runner(cfg)
    cfg = make('teacher', **{'model.consistency_weight': 0})
    cfg.custom_hooks = [dict(type='LockReleaseHook'), cfg.custom_hooks[-1]]
    cfg.val_cfg.predict_on = None
    with pytest.raises(UserError, match='no MeanTeacherHook'):
        build_runner(cfg)
    cfg = make('none', tasks=SOURCES)
    with pytest.raises(UserError, match='no active task has "pseudo"'):
        build_runner(cfg).train()
    cfg = make('val', val_cfg=None)
    with pytest.raises(UserError, match='need thresholds from validation'):
        build_runner(cfg).train()
    cfg = make('labels', val_cfg=None, tasks=['phantom_b/cls', 'rest/cls'])
    build_runner(cfg).train()


def test_a_view_that_lies_otherwise_stops_training(make):
    cfg = make('lies', tasks=['phantom_b/loc', 'rest/loc'])
    steps = list(cfg.task_defaults.loc.train_pipeline)
    flip = dict(type='mmdet.RandomFlip', prob=1.0)
    cfg.datasets.rest.tasks.loc.train_pipeline = [
        steps[0],
        dict(type='TeacherView'),
        flip,
        steps[-1],
    ]
    with pytest.raises(UserError, match='rest/loc lies otherwise'):
        build_runner(cfg).train()


def test_it_is_measured_without_data(make):
    text = dry_run(build_runner(make('dry'), synthetic=True))
    assert all(f'{task:<24}release' in text for task in REST)


def test_its_views_are_drawn(make, tmp_path):
    sheets = draw_training_sheets(make('sheet'), tmp_path, 4)
    names = {path.name for path in sheets}
    assert {'rest_seg.png', 'rest_loc.png', 'rest_cls.png'} <= names


def test_two_processes_train_too(make, tmp_path):
    state = train_in_two(make('two'), tmp_path)
    assert all(v.isfinite().all() for v in state.values())
