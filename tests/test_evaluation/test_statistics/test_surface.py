"""Hausdorff distance against all pairs of pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from fx_mm.evaluation.statistics.surface import hausdorff95, outline


def edge_by_hand(mask):
    height, width = mask.shape
    return [
        (y, x)
        for y, x in np.argwhere(mask)
        if any(
            not (0 <= v < height and 0 <= u < width and mask[v, u])
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        )
    ]


def by_hand(truth, pred):
    edges = [np.array(edge_by_hand(mask)) for mask in (truth, pred)]
    gaps = np.linalg.norm(edges[0][:, None] - edges[1][None], axis=-1)
    return max(np.percentile(gaps.min(axis=i), 95) for i in (0, 1))


def test_an_empty_mask_has_no_distance():
    full, empty = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    for pair in ((empty, empty), (full, empty), (empty, full)):
        assert math.isnan(hausdorff95(*pair))


def test_single_pixels_and_equal_masks():
    truth, pred = np.zeros((2, 9, 9), bool)
    truth[0, 0] = pred[3, 4] = True
    assert hausdorff95(truth, pred) == 5
    assert hausdorff95(np.ones((3, 3), bool), np.ones((3, 3), bool)) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_equals_all_pairs(seed, share):
    rng = np.random.default_rng(seed)
    truth, pred = rng.random((2, *rng.integers(1, 14, 2))) < share
    if truth.any() and pred.any():
        found = hausdorff95(truth, pred)
        assert found == pytest.approx(by_hand(truth, pred), abs=1e-12)
        assert found == hausdorff95(pred, truth)


def test_equals_a_distance_transform():
    rows, columns = np.mgrid[:200, :180]
    truth = (rows - 90) ** 2 + (columns - 80) ** 2 < 60**2
    pred = (rows - 100) ** 2 / 2 + (columns - 85) ** 2 < 50**2
    edges = outline(truth), outline(pred)
    expected = max(
        np.percentile(distance_transform_edt(~other)[own], 95)
        for own, other in (edges, edges[::-1])
    )
    assert hausdorff95(truth, pred) == pytest.approx(expected, abs=1e-12)
