"""Two views in training and several in testing, as users run them."""

import copy

import pytest
import torch
from small_run import REPO, small_cfg

from fx_mm.apis import build_runner, dry_run, load_config
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.utils.checkpoint import find_checkpoint
from fx_mm.utils.errors import UserError

TASKS = ['phantom_a/cls', 'phantom_c/loc', 'phantom_c/seg']
BASE = REPO / 'configs/_base_'


def views_cfg(root, work_dir, base='task_defaults_ark', **options):
    """The demo with Ark's views of labels, and views for boxes and masks."""
    cfg = small_cfg(root, work_dir, tasks=TASKS, **options)
    cls = load_config(str(BASE / f'{base}.py')).task_defaults.cls
    cls.update(img_size=64, resize_size=80, batch_size=4)
    # in every batch, so that the test sees it
    cls.train_pipeline[-2].prob = 1.0
    cfg.task_defaults.cls = cls
    for kind in ('loc', 'seg'):
        entry = cfg.task_defaults[kind]
        entry.tta = 'flip'
        entry.train_pipeline[-1:] = [
            dict(type='TeacherView'),
            dict(type='RandomGamma', gamma_range=(0.5, 0.6), prob=1.0),
            dict(type='PackXray'),
        ]
    cfg.train_cfg.max_cycles = 1
    cfg.test_cfg.amp_dtype = None
    return cfg


def watch(runner):
    """Record task, mode and the images that both models see."""
    seen = []
    model = runner.model

    def student(module, args):
        seen.append([*runner.train_loop.current_pass, args[0].clone(), None])

    def teacher(module, args):
        if runner.model.training:
            seen[-1][-1] = args[0].clone()

    model.student.backbone.register_forward_pre_hook(student)
    model.teacher.backbone.register_forward_pre_hook(teacher)
    return seen


@pytest.fixture(scope='module')
def trained(phantom_root, tmp_path_factory):
    """A cycle with two views, validated and tested with several."""
    cfg = views_cfg(phantom_root, tmp_path_factory.mktemp('views'))
    runner = build_runner(copy.deepcopy(cfg))
    seen = watch(runner)
    runner.train()
    return cfg, runner, seen


def test_each_model_sees_its_view(trained):
    _, _, seen = trained
    ran = {(task, mode) for task, mode, _, view in seen if view is not None}
    assert ran == {
        ('phantom_a/cls', 'release'),
        # not in lock passes, which leave nothing to agree on
        ('phantom_c/loc', 'release'),
        ('phantom_c/seg', 'release'),
    }
    for task, _, image, view in seen:
        if view is None:
            continue
        assert image.shape == view.shape
        assert not torch.equal(image, view)
        if not task.endswith('/cls'):
            # the same places, brighter
            assert (image >= view - 0.02).all()


def test_ten_crops_in_validation(trained):
    _, runner, _ = trained
    shapes = []
    handle = runner.model.teacher.backbone.register_forward_pre_hook(
        lambda module, args: shapes.append(tuple(args[0].shape))
    )
    metrics = runner.val_loop.run()
    handle.remove()
    # one batch of 4 a task
    assert shapes == (10 + 2 + 2) * [(4, 3, 64, 64)]
    assert 'phantom_a/cls/auc' in {key.lower() for key in metrics}


def test_the_inferencer_takes_the_same_views(trained):
    cfg, runner, _ = trained
    dataset = runner.val_loop.dataloader.dataset.datasets[0]
    path = dataset.data_list[0]['img_path']
    checkpoint = find_checkpoint(runner.work_dir)
    (result,) = FoundationXInferencer(cfg, checkpoint)(path)
    model = runner.model.eval()
    data = dataset[0]
    with torch.no_grad():
        (sample,) = model.test_step(
            dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
        )
    torch.testing.assert_close(
        torch.as_tensor(result['phantom_a/cls'].scores), sample.pred_score
    )


def test_the_whole_image_for_the_teacher(phantom_root, tmp_path):
    cfg = views_cfg(phantom_root, tmp_path, base='task_defaults_ark-plus')
    # what the teacher's validation does is known from above
    cfg.tasks = TASKS[:1]
    runner = build_runner(cfg)
    seen = watch(runner)
    dataset = runner.train_loop.dataloader.dataset.datasets[0]
    assert 'RandomResizedCrop' in str(dataset.pipeline)
    text = dry_run(runner)
    assert 'phantom_a/cls' in text
    assert seen and all(view is not None for *_, view in seen)
    for _, _, image, view in seen:
        assert image.shape == view.shape == (4, 3, 64, 64)
        assert not torch.equal(image, view)


def test_made_up_samples_have_one_view(phantom_root, tmp_path):
    cfg = views_cfg(phantom_root, tmp_path)
    runner = build_runner(cfg, synthetic=True)
    seen = watch(runner)
    dry_run(runner)
    pairs = [(image, view) for *_, image, view in seen if view is not None]
    assert pairs and all(torch.equal(*pair) for pair in pairs)


@pytest.mark.slow
def test_gradients_are_accumulated_over_views(phantom_root, tmp_path):
    cfg = views_cfg(
        phantom_root, tmp_path, **{'optim_wrapper.accumulative_counts': 2}
    )
    cfg.tasks = TASKS[:1]
    runner = build_runner(cfg)
    seen = watch(runner)
    runner.train()
    # a half of the three batches is carried to the pass's end
    assert len([view for *_, view in seen if view is not None]) == 3
    assert runner.optim_wrapper.at_update


def test_a_view_that_lies_otherwise_stops_training(phantom_root, tmp_path):
    cfg = views_cfg(phantom_root, tmp_path)
    cfg.tasks = TASKS[1:2]
    steps = cfg.task_defaults.loc.train_pipeline
    steps.insert(2, steps.pop(-3))
    steps.insert(3, dict(type='mmdet.RandomFlip', prob=1.0))
    runner = build_runner(cfg)
    with pytest.raises(UserError, match='phantom_c/loc lies otherwise'):
        runner.train()
