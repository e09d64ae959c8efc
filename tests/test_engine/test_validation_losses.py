"""Losses of the validation, and gradient norms, beside the training's."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch

from fx_mm.models.mean_teacher import bare_model
from fx_mm.utils.dist import ranks_apart

ALL = ['phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg']


def scalars_of(runner):
    file = Path(runner.log_dir, 'vis_data', 'scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_off_by_default_and_no_metric_changes(make_runner):
    """One image without boxes is among the four: finite all the same."""
    runner = make_runner(tasks=ALL, **{'val_cfg.amp_dtype': None})
    plain = runner.val()
    assert not any('loss' in key for key in plain)
    runner.val_loop.losses = True
    both = runner.val()
    assert {k: both[k] for k in plain} == pytest.approx(plain, nan_ok=True)
    assert list(both)[: len(ALL)] == list(plain)[: len(ALL)]
    added = both.keys() - plain.keys()
    assert {key.rsplit('/', 1)[0] for key in added} == {
        f'{task}/val' for task in ALL
    }
    assert all(math.isfinite(both[key]) for key in added)
    assert 'phantom_b/loc/val/d0.loss_iou' in added
    assert not any('dn_' in key or 'consistency' in key for key in added)


@pytest.mark.parametrize('task', ['phantom_b/loc', 'phantom_c/seg'])
def test_truth_of_the_original_is_that_of_mmdets_resize(make_runner, task):
    """The images are 64 x 64 and seen at 96 x 96."""
    kind = task.split('/')[1]
    runner = make_runner(
        tasks=[task],
        **{
            'val_cfg.amp_dtype': None,
            'val_cfg.losses': True,
            f'task_defaults.{kind}.img_size': 96,
        },
    )
    found = runner.val()
    loop = runner.val_loop
    dataset = copy.deepcopy(loop.dataloader.dataset.datasets[0])
    dataset.test_mode = False  # the truth moves with the image
    steps = dataset.pipeline.transforms
    names = [type(step).__name__ for step in steps]
    assert names[1:3] == ['Resize', 'LoadXrayAnnotations']
    steps[1], steps[2] = steps[2], steps[1]
    packed = [dataset[i] for i in range(len(dataset))]
    batch = {key: [p[key] for p in packed] for key in packed[0]}
    assert batch['inputs'][0].shape == (3, 96, 96)
    model = bare_model(runner.model).eval()
    batch = model.data_preprocessor(batch)
    with torch.no_grad():
        losses = model.active.loss(**batch)
    expected = {
        f'{task}/val/{name}': 0.5 * float(value)
        for name, value in losses.items()
    }
    total = sum(expected.values())
    expected[f'{task}/val/loss'] = total
    got = {key: found[key] for key in expected}
    assert got == pytest.approx(expected, rel=1e-5)


def test_labels_by_the_definition(make_runner):
    runner = make_runner(
        tasks=['phantom_a/cls'],
        **{'val_cfg.amp_dtype': None, 'val_cfg.losses': True},
    )
    metric = runner.val_loop.evaluators['phantom_a/cls'].metrics[0]
    metric.kept = []
    found = runner.val()['phantom_a/cls/val/loss_cls']
    records, _ = metric.kept[0]
    truth = torch.stack([torch.as_tensor(r.labels) for r in records]).double()
    prob = torch.stack([torch.as_tensor(r.scores) for r in records]).double()
    loss = -(truth * prob.log() + (1 - truth) * (1 - prob).log())
    assert found == pytest.approx(0.5 * float(loss.nanmean()), rel=1e-4)


def test_ranks_do_not_wait_inside(monkeypatch):
    import fx_mm.utils.dist as ours

    monkeypatch.setattr(ours, 'get_world_size', lambda: 2)
    with ranks_apart():
        assert ours.count_per_rank(torch.tensor(3)) == 3
        (same,) = ours.sum_over_ranks(torch.tensor(2.0))
    assert same == 2
    with pytest.raises((RuntimeError, ValueError)):  # no process group
        ours.count_per_rank(torch.tensor(3))


@pytest.mark.slow
def test_training_writes_both_and_the_norms_of_each_kind(make_runner):
    runner = make_runner(
        tasks=ALL,
        report=True,
        **{
            'val_cfg.losses': True,
            'train_cfg.max_cycles': 1,
            'cycle.max_batches': 1,
            'val_cfg.predict_on': ['teacher', 'student'],
            'optim_wrapper.clip_grad.loc.max_norm': 1e-6,
            'default_hooks.checkpoint.save_best': 'phantom_b/loc/val/loss',
        },
    )
    runner.train()
    names = {key for line in scalars_of(runner) for key in line}
    for task, part in zip(ALL, ('cls', 'bbox', 'dice')):
        for start in ('', 'val/'):
            assert f'{task}/{start}loss_{part}' in names
        assert f'student/{task}/val/loss' in names
    norms = {n for n in names if n.startswith('grad_norm/')}
    assert norms == {
        *('grad_norm/cls', 'grad_norm/loc', 'grad_norm/seg'),
        *('grad_norm/lock/loc', 'grad_norm/lock/seg'),
    }
    # before clipping
    values = {k: v for line in scalars_of(runner) for k, v in line.items()}
    assert values['grad_norm/loc'] > 1e-3
    folder = Path(runner.work_dir)
    assert list(folder.glob('best_phantom_b_loc_val_loss_iter_*.pth'))
    assert (folder / 'curves.png').is_file()


def test_the_norm_is_torchs(make_runner):
    """One step of a plain model, without clipping."""
    runner = make_runner(
        tasks=['phantom_a/cls'],
        **{
            'optim_wrapper.amp_dtype': None,
            'optim_wrapper.clip_grad.cls': None,
            'train_cfg.max_cycles': 1,
            'cycle.max_batches': 1,
            'val_cfg': None,
        },
    )
    seen = []
    runner.prepare()
    optimizer = runner.optim_wrapper.optimizer
    original = optimizer.step

    def step(*args, **kwargs):
        grads = [
            p.grad.double().flatten()
            for group in optimizer.param_groups
            for p in group['params']
            if p.grad is not None
        ]
        seen.append(float(torch.cat(grads).norm()))
        return original(*args, **kwargs)

    optimizer.step = step
    runner.train()
    logged = [x['grad_norm/cls'] for x in scalars_of(runner) if 'lr' in x]
    assert logged == pytest.approx([sum(seen) / len(seen)], rel=1e-5)
