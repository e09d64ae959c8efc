"""Weighted boxes fusion against the definition, box by box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.preparation.box_fusion import fuse_boxes
from fx_mm.utils.errors import UserError

CORNER = st.integers(0, 30)
BOX = st.tuples(CORNER, CORNER, st.integers(1, 30), st.integers(1, 30)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return width * height / (sum(areas) - width * height)


def fuse_by_hand(boxes, scores, readers, iou):
    """Follow the six steps of the paper, nothing vectorised."""
    clusters = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        best, most = None, iou
        for cluster in clusters:
            if overlap(boxes[i], average(boxes, scores, cluster)) > most:
                most = overlap(boxes[i], average(boxes, scores, cluster))
                best = cluster
        if best is None:
            clusters.append([i])
        else:
            best.append(i)
    found = []
    for cluster in clusters:
        score = sum(scores[i] for i in cluster) / len(cluster)
        score *= min(len(cluster), readers) / readers
        found.append((average(boxes, scores, cluster), score))
    return sorted(found, key=lambda box: -box[1])


def average(boxes, scores, cluster):
    total = sum(scores[i] for i in cluster)
    return [
        sum(boxes[i][k] * scores[i] for i in cluster) / total for k in range(4)
    ]


def test_no_boxes_stay_no_boxes():
    boxes, scores = fuse_boxes([], readers=3)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_three_readers_of_one_finding_give_their_average():
    drawn = [(10, 10, 30, 30), (12, 10, 32, 30), (11, 13, 31, 33)]
    boxes, scores = fuse_boxes(drawn, readers=3)
    assert np.allclose(boxes, [[11, 11, 31, 31]]) and scores.tolist() == [1]


def test_the_score_is_the_share_of_the_readers():
    drawn = [(0, 0, 9, 9), (50, 50, 60, 60), (51, 50, 61, 60)]
    boxes, scores = fuse_boxes(drawn, readers=3)
    assert np.allclose(boxes, [[50.5, 50, 60.5, 60], [0, 0, 9, 9]])
    assert np.allclose(scores, [2 / 3, 1 / 3])


def test_touching_boxes_stay_apart_even_at_an_overlap_of_zero():
    boxes, _ = fuse_boxes([(0, 0, 5, 5), (5, 0, 9, 5)], readers=2, iou=0)
    assert len(boxes) == 2


@given(
    st.lists(st.tuples(BOX, st.sampled_from([0.2, 0.5, 0.7, 1])), max_size=9),
    st.sampled_from([0.3, 0.4, 0.5, 0.55]),
    st.integers(1, 4),
)
def test_boxes_are_fused_as_the_paper_says(drawn, iou, readers):
    boxes = [box for box, _ in drawn]
    scores = [score for _, score in drawn]
    found, shares = fuse_boxes(boxes, readers, iou, scores)
    right = fuse_by_hand(boxes, scores, readers, iou)
    assert len(found) == len(right)
    assert np.allclose(sorted(shares), sorted(s for _, s in right))
    key = lambda row: [round(float(n), 6) for n in row]  # noqa: E731
    assert np.allclose(
        sorted(map(key, found)), sorted(key(box) for box, _ in right)
    )


@given(st.lists(BOX, max_size=9))
def test_fused_boxes_lie_within_what_was_drawn(drawn):
    found, shares = fuse_boxes(drawn, readers=3)
    assert len(found) <= len(drawn)
    if drawn:
        drawn = np.array(drawn)
        assert (found[:, :2] >= drawn[:, :2].min(0) - 1e-9).all()
        assert (found[:, 2:] <= drawn[:, 2:].max(0) + 1e-9).all()
        assert (found[:, 2:] > found[:, :2]).all()
        assert (shares > 0).all() and (shares <= 1).all()
        assert (np.diff(shares) <= 0).all()


def test_an_overlap_outside_of_its_range_is_refused():
    with pytest.raises(UserError, match='is in 0..1, not 40'):
        fuse_boxes([], readers=3, iou=40)
