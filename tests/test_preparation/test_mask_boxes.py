"""Boxes around masks, against slow definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fx_mm.preparation.mask_boxes import boxes_around

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
