"""Boxes around masks, against slow definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fx_mm.preparation.mask_boxes import boxes_around, reduce_mask

SHAPE = (9, 11)
MASKS = st.lists(arrays(bool, SHAPE), max_size=3)


def slow_box(mask):
    rows, columns = np.nonzero(mask)
    return (
        columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    )  # fmt: skip


@pytest.mark.parametrize('box_per', ['piece', 'component', 'class'])
def test_empty_masks_have_no_boxes(box_per):
    assert boxes_around([], box_per) == []
    assert boxes_around([np.zeros(SHAPE, bool)] * 2, box_per) == []


@given(MASKS)
def test_boxes(pieces):
    drawn = [piece for piece in pieces if piece.any()]
    assert boxes_around(pieces, 'piece') == [
        slow_box(piece) for piece in drawn
    ]
    union = np.any([np.zeros(SHAPE, bool), *pieces], axis=0)
    assert boxes_around(pieces, 'class') == (
        [slow_box(union)] if union.any() else []
    )
    regions, count = ndimage.label(union, np.ones((3, 3)))
    expected = [slow_box(regions == i + 1) for i in range(count)]
    assert sorted(boxes_around(pieces, 'component')) == sorted(expected)


@given(arrays(bool, SHAPE), st.integers(1, 9), st.integers(1, 11))
def test_reduced_masks_stay_where_they_were(mask, height, width):
    reduced = reduce_mask(mask, height, width)
    assert reduced.shape == (height, width)
    assert reduced.any() == mask.any()
    assert reduce_mask(~np.zeros(SHAPE, bool), height, width).all()
    if not mask.any():
        return
    # every pixel touches what was inside before
    for row, column in zip(*np.nonzero(reduced)):
        y1, x1 = row * 9 / height, column * 11 / width
        y2, x2 = (row + 1) * 9 / height, (column + 1) * 11 / width
        rows = slice(int(y1 + 1e-6), int(np.ceil(y2 - 1e-6)))
        columns = slice(int(x1 + 1e-6), int(np.ceil(x2 - 1e-6)))
        assert mask[rows, columns].any()


def test_a_small_mask_does_not_vanish():
    mask = np.zeros((100, 100), bool)
    mask[41, 87] = True
    assert np.argwhere(reduce_mask(mask, 10, 10)).tolist() == [[4, 8]]
