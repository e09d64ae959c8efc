"""Agreement of models on each image."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from fx_mm.evaluation.statistics.agreement import (
    decision_agreement,
    mask_dice,
    matched_iou,
)
from fx_mm.evaluation.statistics.box_matches import LocRecord


def boxes(pred, labels, scores):
    none = np.zeros((0, 4))
    empty = np.zeros(0, np.int64)
    pred = np.array(pred, float).reshape(-1, 4)
    return LocRecord(
        'x', none, empty, empty.astype(bool), pred, np.array(labels, int),
        np.array(scores, float),
    )  # fmt: skip


def test_nothing_predicted_agrees():
    none = boxes([], [], [])
    assert matched_iou(none, none, 0.3) == 1
    assert mask_dice([np.zeros((2, 2))], [np.zeros((2, 2))]) == 1
    kappa, images = decision_agreement(np.zeros((2, 3, 1), bool))
    assert np.isnan(kappa) and (images == 1).all()


def test_kappa_is_scikit_learns():
    rng = np.random.default_rng(0)
    decisions = rng.random((3, 40, 2)) < 0.4
    kappa, images = decision_agreement(decisions)
    expected = [
        cohen_kappa_score(decisions[i, :, c], decisions[j, :, c])
        for i, j in ((0, 1), (0, 2), (1, 2))
        for c in range(2)
    ]
    assert kappa == pytest.approx(np.mean(expected))
    pairs = [
        decisions[i, 5] == decisions[j, 5] for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert images[5] == pytest.approx(np.mean(pairs))


def test_boxes_are_matched_for_the_largest_sum():
    a = boxes(
        [[0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 5, 5]],
        [0, 0, 1],
        [0.9, 0.8, 0.1],
    )
    b = boxes([[0, 0, 10, 20]], [0], [0.7])
    # the box of class 1 has too low a score; one of class 0 is alone
    assert matched_iou(a, b, 0.3) == pytest.approx(0.5)
    assert matched_iou(b, a, 0.3) == pytest.approx(0.5)
    assert matched_iou(a, a, 0.0) == 1
    assert matched_iou(a, boxes([], [], []), 0.3) == 0


def test_dice():
    a, b = np.zeros((2, 1, 4, 4))
    a[0, :2], b[0, 1:3] = 1, 1
    assert mask_dice(a, b) == pytest.approx(0.5)
    assert mask_dice(a, a * 0) == 0
