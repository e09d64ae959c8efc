"""Measures of outlines against all pairs of pixels, and against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, distance_transform_edt

from fx_mm.evaluation.statistics.surface import (
    band_width,
    boundary_iou,
    crop,
    outline,
    outline_distances,
    surface_dice,
)
from fx_mm.evaluation.statistics.surface import hausdorff95 as of_distances


def hausdorff95(truth, pred):
    return of_distances(outline_distances(truth, pred))


def discs(size=(200, 180)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    truth = (rows - 90) ** 2 + (columns - 80) ** 2 < 60**2
    pred = (rows - 100) ** 2 / 2 + (columns - 85) ** 2 < 50**2
    return truth, pred


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
        assert surface_dice(outline_distances(*pair), 9) == 0
        found = boundary_iou(*pair, 1)
        assert (
            math.isnan(found)
            if not pair[0].any() and not pair[1].any()
            else found == 0
        )
    assert crop(empty, empty)[0].shape == (0, 0)


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
    truth, pred = discs()
    edges = outline(truth), outline(pred)
    gaps = [
        distance_transform_edt(~other)[own]
        for own, other in (edges, edges[::-1])
    ]
    expected = max(np.percentile(each, 95) for each in gaps)
    assert hausdorff95(truth, pred) == pytest.approx(expected, abs=1e-12)
    # MetricsReloaded: within the tolerance, of the pixels of both outlines
    distances = outline_distances(*crop(truth, pred))
    for tolerance in (0, 1, 2.5, 10, 99):
        close = sum((each <= tolerance).sum() for each in gaps)
        expected = close / sum(edge.sum() for edge in edges)
        assert surface_dice(distances, tolerance) == pytest.approx(expected)
    assert surface_dice(distances, 99) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.integers(1, 4))
def test_bands_are_what_erosions_take(seed, share, width):
    """Cheng et al. erode by 3 x 3 pixels, as often as the band is wide."""
    rng = np.random.default_rng(seed)
    truth, pred = rng.random((2, *rng.integers(1, 14, 2))) < share
    truth, pred = (mask.repeat(3, 0).repeat(3, 1) for mask in (truth, pred))
    if truth.any() and pred.any():
        square = np.ones((3, 3), bool)
        bands = [
            mask & ~binary_erosion(mask, square, width)
            for mask in (truth, pred)
        ]
        expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
        for pair in ((truth, pred), crop(truth, pred)):
            assert boundary_iou(*pair, width) == pytest.approx(expected)


def test_boundaries_see_what_overlap_does_not():
    truth, _ = discs((400, 400))
    truth = truth.repeat(2, 0).repeat(2, 1)
    pred = np.roll(truth, 6, 1)
    iou = (truth & pred).sum() / (truth | pred).sum()
    width = band_width(truth.shape, 0.01)
    assert width == round(0.01 * 800 * 2**0.5) == 11
    assert boundary_iou(truth, pred, width) < 0.6 < 0.9 < iou
    assert boundary_iou(truth, truth, width) == 1
    assert band_width((4, 4), 0.02) == 1
