"""Norms and cosines of expected gradients, out of noisy ones."""

import json

import numpy as np
import pytest
import torch
from small_run import small_cfg

from fx_mm.analysis.gradient_conflict import (
    GradientConflict,
    measure_conflict,
    release_batches,
    shared_parts,
)
from fx_mm.analysis.step_timing import Trainer
from fx_mm.utils.errors import UserError
from fx_mm.visualization.conflict_plot import plot_conflict

TASKS = ('a/cls', 'b/loc', 'c/seg')


def conflict_of(means, noise, folds=6, batches=4, width=4000, seed=0):
    """Measure made-up gradients: a mean per task, and noise per batch."""
    rng = np.random.default_rng(seed)
    drawn = np.asarray(means)[:, None, None, :] + noise * rng.normal(
        size=(len(means), folds, batches, width)
    )
    rows = drawn.mean(axis=2).reshape(-1, width)
    shape = (len(means), folds, len(means), folds)
    return GradientConflict(
        TASKS[: len(means)],
        batches,
        dict(part=(rows @ rows.T).reshape(shape)),
        dict(part=(drawn**2).sum(-1).mean((1, 2))),
    )


@pytest.fixture
def means():
    """Three vectors with known norms and cosines."""
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(4000, 2)))[0]
    one, other = basis.T
    angle = np.deg2rad(120)
    return [
        3 * one,
        2 * (np.cos(angle) * one + np.sin(angle) * other),
        one / 2,
    ]


def test_no_gradient_at_all():
    conflict = conflict_of(np.zeros((2, 4000)), 0)
    assert np.isnan(conflict.norms('part')).all()
    assert np.isnan(conflict.cosines('part')).all()
    assert conflict.reached('part') == []
    assert list(conflict.rows()) == []
    json.dumps(conflict.to_dict(), allow_nan=False)


def test_without_noise_they_are_exact(means):
    conflict = conflict_of(means, 0)
    assert conflict.norms('part') == pytest.approx([3, 2, 0.5])
    expected = [[1, -0.5, 1], [-0.5, 1, -0.5], [1, -0.5, 1]]
    assert conflict.cosines('part') == pytest.approx(np.array(expected))
    assert conflict.cosine_errors('part') == pytest.approx(np.zeros((3, 3)))
    assert conflict.signal('part') == pytest.approx(np.ones(3))


def test_noise_neither_adds_to_norms_nor_hides_directions(means):
    # a batch's noise has norm 3.2, more than any mean
    found = [conflict_of(means, 0.05, seed=seed) for seed in range(40)]
    cosines = np.stack([c.cosines('part') for c in found])
    assert np.nanmean(cosines[:, 0, 1]) == pytest.approx(-0.5, abs=0.02)
    norms = np.stack([c.norms('part') for c in found])
    assert norms[:, :2].mean(0) == pytest.approx([3, 2], abs=0.03)
    errors = np.stack([c.cosine_errors('part') for c in found])[:, 0, 1]
    covered = np.abs(cosines[:, 0, 1] + 0.5) <= errors
    assert covered.mean() >= 0.85
    signal = np.mean([c.signal('part') for c in found], axis=0)
    assert signal == pytest.approx(
        [9 / 19, 4 / 14, 0.25 / 10.25], rel=0.1, abs=0.01
    )


def test_a_gradient_below_the_noise_has_no_cosine():
    means = np.zeros((2, 4000))
    means[0, 0] = 1
    means[1, 0] = 1e-4
    found = [conflict_of(means, 1, seed=seed) for seed in range(20)]
    cells = [next(c.rows())[3] for c in found]
    assert 'below the noise' in cells
    unknown = [np.isnan(c.cosines('part')[0, 1]) for c in found]
    assert np.mean(unknown) > 0.3
    # and where chance gives one, its interval is not narrow
    for conflict in found:
        error = conflict.cosine_errors('part')[0, 1]
        assert np.isnan(error) or error > 0.2


@pytest.fixture
def cfg(tmp_path):
    return small_cfg(tmp_path / 'phantom', tmp_path / 'run')


def test_gradients_are_those_of_the_tasks_own_loss(cfg, tmp_path):
    cfg.tasks = ['phantom_a/cls', 'phantom_c/seg']
    cfg.model.student.backbone.drop_path_rate = 0.0
    conflict = measure_conflict(cfg, folds=3, batches=1)
    assert conflict.tasks == tuple(cfg.tasks)
    trainer = Trainer(cfg, synthetic=False)
    parts = shared_parts(trainer)
    assert list(conflict.products) == list(parts)
    assert {'backbone.stages.0', 'segmentation/decoder'} <= parts.keys()
    names = sum(parts.values(), [])
    assert not any('.heads.' in name for name in names)
    model = trainer.model
    for number, task in enumerate(cfg.tasks):
        assert trainer.begin(task, 'release', True)
        batch = next(release_batches(trainer, task))
        data = model.data_preprocessor(batch, True)
        losses = model.student(**data, mode='loss')
        total = sum(v.mean() for k, v in losses.items() if 'loss' in k)
        weights = dict(model.student.named_parameters())
        own = [weights[name] for name in parts['backbone.stages.0']]
        found = torch.autograd.grad(total, own)
        square = sum((grad**2).sum() for grad in found).item()
        measured = conflict.products['backbone.stages.0']
        assert measured[number, 0, number, 0] == pytest.approx(square, 1e-3)
    assert plot_conflict(conflict, tmp_path / 'c.png').stat().st_size > 5000


def test_one_task_cannot_disagree(cfg):
    cfg.tasks = cfg.tasks[:1]
    with pytest.raises(UserError, match='one task alone'):
        measure_conflict(cfg)
    with pytest.raises(UserError, match='not in the config'):
        measure_conflict(cfg, ['x/cls', 'y/cls'])
    with pytest.raises(UserError, match='folds'):
        measure_conflict(cfg, folds=2)
