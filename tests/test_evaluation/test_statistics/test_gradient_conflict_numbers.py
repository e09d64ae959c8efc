"""Norms and cosines of expected gradients, out of noisy ones."""

import json

import numpy as np
import pytest

from fx_mm.evaluation.statistics.gradient_conflict import GradientConflict
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


def test_an_interval_of_noise_is_never_of_width_zero():
    means = np.zeros((2, 300))
    means[0, 0] = means[1, 0] = 1
    means[1, 1] = 0.48
    true = 1 / np.hypot(1, 0.48)
    covered = []
    for seed in range(200):
        found = conflict_of(means, 0.4, folds=5, width=300, seed=seed)
        cosine = found.cosines('part')[0, 1]
        error = found.cosine_errors('part')[0, 1]
        if np.isnan(error):
            continue
        assert error > 0
        covered.append(abs(cosine - true) <= error)
    assert np.mean(covered) >= 0.9


def test_the_same_images_in_a_fold_are_no_agreement():
    # two tasks without a gradient of their own, and with the same noise
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(8, 500))] * 2)
    products = (rows @ rows.T).reshape(2, 8, 2, 8)
    found = GradientConflict(TASKS[:2], 1, dict(part=products), {})
    assert abs(found.inner('part')[0, 1]) < 20
    assert products.mean(axis=(1, 3))[0, 1] > 50


def test_a_picture_where_no_two_tasks_meet(tmp_path):
    products = np.ones((2, 3, 2, 3))
    found = GradientConflict(
        TASKS[:2], 1, dict(part=products), dict(part=np.array([1.0, 0.0]))
    )
    file = plot_conflict(found, tmp_path / 'c.png')
    assert file.stat().st_size > 3000
    assert list(found.rows()) == []
