"""The shipped configs of masked images, cut to seconds."""

import json
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_run import REPO, Watcher, small_cfg
from two_processes import train_in_two

from fx_mm.apis import (
    FoundationXInferencer,
    build_runner,
    dry_run,
    load_config,
)
from fx_mm.engine.closing_report import ReportOptions
from fx_mm.phantom import ensure_phantom
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

pytestmark = pytest.mark.slow
PURE = REPO / 'configs/ssl/masked-images_tiny_phantom.py'
MIXED = REPO / 'configs/ssl/foundation-x_tiny_phantom_with-masked-images.py'
A_FEW = {'tasks': ['phantom_a/ssl', 'phantom_b/cls', 'phantom_b/ssl']}
TASK = 'phantom_a/ssl'


@pytest.fixture(scope='module')
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp('masked')

    def make_cfg(work, config=PURE, **options):
        options.setdefault('train_cfg.max_cycles', 1)
        return small_cfg(folder / 'data', folder / work, config, **options)

    return make_cfg


@pytest.fixture(scope='module')
def pretrained(make):
    cfg = make('pure', **{'train_cfg.max_cycles': 2})
    runner = build_runner(cfg)
    runner.report_options = ReportOptions(resamples=20, save_predictions=True)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def mixed(make):
    runner = build_runner(make('mixed', MIXED, test_cfg=None, **A_FEW))
    runner.train()
    return runner


def state_of(runner):
    return load_file(find_checkpoint(runner.work_dir))['state_dict']


def test_the_report_has_errors_intervals_and_pictures(pretrained):
    work = Path(pretrained.work_dir)
    content = json.loads((work / 'results.json').read_text())
    found = content['metrics']['student'][TASK]
    assert found['skill'] <= 1 and found['L1'] > 0
    assert 0 <= found['spread'] <= 1
    ends = content['intervals']['student'][TASK]['L1']
    assert ends['low'] <= found['L1'] <= ends['high']
    text = (work / 'results.md').read_text()
    assert '| SSL skill, student |' in text
    assert 'with that of a grey square (the mean of' in text
    for name in ('predictions.png', 'predictions_val.png', 'curves.png'):
        assert (work / name).stat().st_size > 1000


def test_a_model_of_it_alone_has_no_teacher(pretrained):
    assert not any(key.startswith('teacher') for key in state_of(pretrained))


def test_load_from_brings_the_backbone(pretrained, make):
    path = find_checkpoint(pretrained.work_dir)
    config = REPO / 'configs/phantom/foundation-x_tiny_phantom.py'
    options = {'tasks': ['phantom_a/cls', 'phantom_c/seg']}
    cfg = make('on', config, load_from=path, test_cfg=None, **options)
    runner = build_runner(cfg)
    runner.load_or_resume()
    weights = state_of(pretrained)
    for part in (runner.model.student, runner.model.teacher):
        for name, value in part.backbone.state_dict().items():
            assert torch.equal(value, weights[f'student.backbone.{name}'])


def test_lock_passes_teach_the_head_alone(make):
    seen = {}

    def watch(runner):
        trained = {
            name
            for name, p in runner.model.student.named_parameters()
            if p.requires_grad
        }
        seen[runner.train_loop.current_pass[:2]] = trained

    runner = build_runner(make('locks', MIXED, test_cfg=None, **A_FEW))
    runner.register_hook(Watcher(watch))
    runner.train()
    head = 'self_supervision.heads.phantom_a'
    locked = seen['phantom_a/ssl', 'lock']
    assert locked and all(name.startswith(head) for name in locked)
    free = seen['phantom_a/ssl', 'release']
    assert any(name.startswith('backbone') for name in free)


@pytest.mark.parametrize('stop_at', [2, 7])
def test_a_stop_and_resume_change_no_bit(mixed, make, stop_at):
    def kick(runner):
        if runner.iter + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    cfg = make(f'cut{stop_at}', MIXED, test_cfg=None, **A_FEW)
    cut = build_runner(cfg)
    cut.register_hook(Watcher(kick))
    cut.train()
    assert cut.iter == stop_at
    resumed = build_runner(cfg, resume=True)
    resumed.train()
    wanted, found = state_of(mixed), state_of(resumed)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


@pytest.mark.parametrize('order', ['shuffled', 'concurrent'])
def test_it_mixes_in_any_order(make, order):
    options = {**A_FEW, 'cycle.order': order}
    if order == 'concurrent':
        options['cycle.lock'] = 'none'
    runner = build_runner(make(order, MIXED, test_cfg=None, **options))
    runner.train()
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_a_folder_of_images_and_a_corrupt_one(make):
    cfg = make('folder', test_cfg=None, tasks=[TASK])
    ensure_phantom(**cfg.phantom)
    root = Path(cfg.datasets.phantom_a.data_root)
    extra = root / 'images/unlabelled'
    extra.mkdir()
    image = (np.random.default_rng(0).random((70, 90)) * 255).astype('uint8')
    for index in range(5):
        cv2.imwrite(str(extra / f'{index}.png'), image + np.uint8(index))
    (extra / 'broken.png').write_bytes(b'\x89PNG no more')
    cfg.datasets.phantom_a.tasks.ssl.splits.train = 'images/unlabelled'
    with pytest.raises(UserError, match='1 images cannot be read.*broken'):
        build_runner(cfg).train()
    cfg = make('folder2', test_cfg=None, tasks=[TASK])
    cfg.datasets.phantom_a.tasks.ssl.splits.train = 'images/unlabelled'
    cfg.train_cfg.max_unreadable_ratio = 0.2
    runner = build_runner(cfg)
    runner.train()
    assert len(runner.train_dataloader.dataset) == 6
    shutil.rmtree(extra)


def test_everything_but_what_is_held_out_can_be_asked_for(make):
    cfg = make('all', test_cfg=None, tasks=[TASK])
    ensure_phantom(**cfg.phantom)
    cfg.datasets.phantom_a.tasks.ssl.splits.train = 'images'
    runner = build_runner(cfg)
    runner.train()
    names = runner.train_dataloader.dataset.datasets[0].data_list.column(
        'img_id'
    )
    assert not any(name.startswith(('val', 'test')) for name in names)


def test_a_held_out_image_is_refused(make):
    cfg = make('leak', test_cfg=None, tasks=[TASK])
    ensure_phantom(**cfg.phantom)
    root = Path(cfg.datasets.phantom_a.data_root)
    names = (root / 'train.csv').read_text().splitlines()
    held_out = (root / 'test.csv').read_text().splitlines()[1]
    (root / 'leak.csv').write_text('\n'.join([*names, held_out]))
    splits = cfg.datasets.phantom_a.tasks.ssl.splits
    splits.train, splits.test = 'leak.csv', None
    with pytest.raises(UserError, match='The data leak: shared-images:phan'):
        build_runner(cfg).train()


def test_one_image_is_enough(make):
    cfg = make('one', test_cfg=None, tasks=[TASK])
    cfg.datasets.phantom_a.tasks.ssl.few_shot = dict(n=1)
    runner = build_runner(cfg)
    runner.train()
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_an_image_is_reconstructed(pretrained):
    path = find_checkpoint(pretrained.work_dir)
    infer = FoundationXInferencer(pretrained.cfg, path, tasks=[TASK])
    root = Path(pretrained.cfg.datasets.phantom_a.data_root)
    (result,) = infer(root / 'images/test/000000.png')
    content = result.to_dict()['tasks'][TASK]
    assert content['masked_L1'] > 0 and content['grey_L1'] > 0
    assert result.draw().ndim == 3


def test_it_is_measured_without_data(make):
    text = dry_run(build_runner(make('dry', MIXED), synthetic=True))
    assert f'{TASK:<24}lock' in text and f'{TASK:<24}release' in text


def test_losses_can_be_measured_on_the_validation_split(make):
    options = {'val_cfg.losses': True, 'tasks': [TASK], 'test_cfg': None}
    runner = build_runner(make('losses', **options))
    runner.train()
    values = runner.val()
    # all validation images have as many hidden pixels
    wanted = values[f'{TASK}/L1']
    assert values[f'{TASK}/val/loss_ssl'] == pytest.approx(wanted, rel=2e-2)


def test_two_processes_train_too(make, tmp_path):
    cfg = make('two', MIXED, test_cfg=None, **A_FEW)
    state = train_in_two(cfg, tmp_path)
    assert all(v.isfinite().all() for v in state.values())


def test_the_swin_b_config_reads_each_dataset():
    cfg = load_config(str(REPO / 'configs/ssl/masked-images_swin-b.py'))
    names = [task.partition('/')[0] for task in cfg.tasks]
    assert names == list(cfg.datasets) and len(names) == 11
