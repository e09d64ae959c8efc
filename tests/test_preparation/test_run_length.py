"""Run-length codes: drawn and refused."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco

from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.preparation.run_length import CocoRunLength, RunLength
from fx_mm.utils.errors import UserError

MASKS = npst.arrays(
    bool,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.booleans(),
)
ORDERS = st.sampled_from(['column', 'row'])


@pytest.mark.parametrize('text', ['', '-1', ' -1 ', 'nan'])
@pytest.mark.parametrize('relative', [True, False])
def test_no_mask_is_an_empty_mask(text, relative):
    mask = RunLength(text, relative).draw(3, 5)
    assert mask.shape == (3, 5) and mask.dtype == bool and not mask.any()


def test_numbers_count_down_the_columns_or_along_the_rows():
    # 2 pixels behind the first, then 1 behind 3 more
    down = RunLength('1 2 3 1', relative=True).draw(4, 3)
    assert down.astype(int).tolist() == [
        [0, 0, 0],
        [1, 0, 0],
        [1, 1, 0],
        [0, 0, 0],
    ]
    along = RunLength('2 2 7 1', order='row').draw(4, 3)
    assert along.astype(int).tolist() == [
        [0, 1, 1],
        [0, 0, 0],
        [1, 0, 0],
        [0, 0, 0],
    ]


@given(MASKS, ORDERS)
def test_what_is_written_is_drawn_again(mask, order):
    height, width = mask.shape
    text = encode_runs(mask, order == 'column', relative=True)
    again = RunLength(text, relative=True, order=order)
    assert np.array_equal(again.draw(height, width), mask)
    text = encode_runs(mask, order == 'column', relative=False)
    again = RunLength(text, order=order)
    assert np.array_equal(again.draw(height, width), mask)
    assert again.text == text


@given(MASKS)
def test_both_codes_agree_pixel_by_pixel(mask):
    flat = mask.ravel('F').tolist()
    place, drawn = 0, [False] * len(flat)
    numbers = list(map(int, encode_runs(mask, True, True).split()))
    for gap, length in zip(numbers[::2], numbers[1::2]):
        drawn[place + gap : place + gap + length] = [True] * length
        place += gap + length
    assert drawn == flat
    numbers = list(map(int, encode_runs(mask, True, False).split()))
    inside = {
        first - 1 + i
        for first, length in zip(numbers[::2], numbers[1::2])
        for i in range(length)
    }
    assert inside == {i for i, value in enumerate(flat) if value}


@given(MASKS, st.booleans())
def test_coco_codes_are_drawn_as_pycocotools_does(mask, compressed):
    code = coco.encode(np.asfortranarray(mask, np.uint8))
    if not compressed:
        flat = mask.ravel('F')
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, flat.size]).tolist()
        code['counts'] = [0, *counts] if flat[0] else counts
    again = CocoRunLength(code).draw(*mask.shape)
    assert np.array_equal(again, mask)


def test_a_code_of_another_size_is_resized():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    code = RunLength(encode_runs(mask, True, False), size=(4, 6))
    assert np.array_equal(code.draw(8, 12), mask.repeat(2, 0).repeat(2, 1))
    code = CocoRunLength(coco.encode(np.asfortranarray(mask, np.uint8)))
    assert np.array_equal(code.draw(8, 12), mask.repeat(2, 0).repeat(2, 1))


def test_overlapping_runs_are_united():
    mask = RunLength('1 4 3 4', order='row').draw(2, 4)
    assert mask.ravel().tolist() == [True] * 6 + [False] * 2


@pytest.mark.parametrize(
    ('text', 'relative', 'message'),
    [
        ('3 2 5', True, 'has 3 numbers, which are no pairs'),
        ('3 -2', True, 'has the negative number -2'),
        ('0 4', False, 'has a run at 0, but pixels count from 1'),
        ('1 2.5', True, 'holds more than whole numbers'),
        ('1 two', True, 'holds more than whole numbers'),
        ('1 99999999999999999999', True, 'holds more than whole numbers'),
        ('10 3', True, 'leads beyond the image of 3x4 pixels (run 1 of 1)'),
        ('1 2 8 3', True, 'leads beyond the image of 3x4 pixels (run 2 of 2)'),
        ('12 1 13 1', False, 'leads beyond the image of 3x4 pixels (run 2'),
        ('9223372036854775807 9223372036854775807 1 1', True, 'leads beyond'),
    ],
)
def test_broken_codes_are_refused_by_place(text, relative, message):
    code = RunLength(text, relative, where='train-rle.csv, row 7')
    with pytest.raises(UserError, match=re.escape(message)) as error:
        code.draw(3, 4)
    assert str(error.value).startswith('train-rle.csv, row 7: the run-length')


@pytest.mark.parametrize(
    'code',
    [
        dict(size=[2, 2], counts=[1, 2, 3]),
        dict(size=[2, 2], counts=[5, -1]),
        dict(size=[2, 2]),
        dict(size=[2], counts='04'),
        dict(size=[2, 2], counts=None),
    ],
)
def test_broken_coco_codes_are_refused_by_place(code):
    with pytest.raises(UserError, match='^x.json, annotation 3: the COCO'):
        CocoRunLength(code, 'x.json, annotation 3').draw(2, 2)


def test_an_unknown_order_is_refused():
    with pytest.raises(UserError, match='is "column" or "row", not "rows"'):
        RunLength('1 2', order='rows')


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 9))
def test_large_masks_stay_small_in_memory(seed):
    # an organ of a film of 2500x3000 pixels
    rows, columns = np.ogrid[:3000, :2500]
    mask = (rows - 1500) ** 2 / 9 + (columns - 1200 - seed) ** 2 < 350**2
    code = RunLength(encode_runs(mask, False, False), order='row')
    assert len(code._packed) < 0.6 * len(code.text)
    assert np.array_equal(code.draw(3000, 2500), mask)
