"""Polygons and mask files."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.mask_code import MaskCode
from fx_mm.image_io.mask_format import MaskFormat
from fx_mm.preparation.mask_files import MaskFile, fit_mask
from fx_mm.preparation.polygons import Polygon
from fx_mm.utils.errors import UserError

CORNERS = st.integers(-30, 60)


def test_a_polygon_outside_of_the_image_is_empty():
    mask = Polygon([(50, 50), (60, 50), (60, 70)]).draw(20, 30)
    assert mask.shape == (20, 30) and mask.dtype == bool and not mask.any()


@given(CORNERS, CORNERS, CORNERS, CORNERS)
def test_a_rectangle_is_filled_with_its_border_and_cut_off(a, b, c, d):
    x1, x2, y1, y2 = min(a, b), max(a, b), min(c, d), max(c, d)
    mask = Polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]).draw(20, 30)
    right = np.zeros((20, 30), bool)
    right[max(y1, 0) : max(y2 + 1, 0), max(x1, 0) : max(x2 + 1, 0)] = True
    assert np.array_equal(mask, right)


def test_corners_far_outside_are_no_danger():
    mask = Polygon([(-1e12, -1e12), (1e12, -1e12), (1e12, 1e12)]).draw(9, 9)
    assert mask[0, -1] and not mask[-1, 0]


@pytest.mark.parametrize(
    'points',
    [
        [],
        [(1, 2), (3, 4)],
        [1, 2, 3, 4, 5, 6],
        [(1, 2, 3)] * 4,
        [(1, 2), (3, 4), (5, math.nan)],
        [(1, 2), (3,), (4, 5)],
        [('a', 'b')] * 3,
        'None',
        None,
    ],
)
def test_what_is_no_polygon_is_refused_by_place(points):
    message = '^ChestX.json, image 5.png: a polygon needs three or more'
    with pytest.raises(UserError, match=message):
        Polygon(points, 'ChestX.json, image 5.png')


def test_long_polygons_do_not_fill_the_message():
    with pytest.raises(UserError) as error:
        Polygon([(1, 2, 3)] * 1000)
    assert len(str(error.value)) < 200


def test_an_empty_mask_file_is_an_empty_mask(tmp_path):
    path = tmp_path / 'mask.png'
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(path)
    mask = MaskFile(path).draw(6, 8)
    assert mask.shape == (6, 8) and mask.dtype == bool and not mask.any()


@pytest.mark.parametrize('suffix', ['.png', '.gif', '.tif'])
def test_mask_files_are_read_and_resized(tmp_path, suffix):
    values = np.zeros((6, 8), np.uint8)
    values[2:4, 1:5] = 255
    path = tmp_path / f'mask{suffix}'
    Image.fromarray(values).save(path)
    assert np.array_equal(MaskFile(path).draw(6, 8), values > 0)
    double = (values > 0).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(MaskFile(path).draw(12, 16), double)


def test_ignored_pixels_of_mask_files(tmp_path):
    values = np.array([[0, 1], [1, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / 'mask.png')
    mask = MaskFile(tmp_path / 'mask.png').draw(2, 2)
    assert np.array_equal(np.ma.getmask(mask), values == 255)
    assert np.array_equal(np.asarray(mask), values == 1)
    double = MaskFile(tmp_path / 'mask.png').draw(4, 4)
    values = values.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(np.ma.getmask(double), values == 255)
    assert np.array_equal(np.asarray(double), values == 1)


def test_a_class_of_a_label_map(tmp_path):
    values = np.array([[0, 1, 2], [2, 3, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / 'mask.png')
    code = MaskCode(('A', 'B', 'C'), MaskFormat('label_map'))
    mask = MaskFile(tmp_path / 'mask.png', code, 1).draw(2, 3)
    assert mask.tolist() == [[False, False, True], [True, False, None]]


def test_a_label_map_is_no_mask_file(tmp_path):
    values = np.array([[0, 1], [2, 3]], np.uint8)
    Image.fromarray(values).save(tmp_path / 'mask.png')
    with pytest.raises(UserError, match='mask.png holds .* 0, 1, 2, 3'):
        MaskFile(tmp_path / 'mask.png').draw(2, 2)


def test_a_missing_mask_file_is_named(tmp_path):
    with pytest.raises(ImageReadError, match='left/1.png: '):
        MaskFile(tmp_path / 'left' / '1.png').draw(2, 2)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_enlarged_masks_shrink_to_what_they_were(height, width, times):
    mask = np.random.default_rng(height * width).random((height, width)) > 0.5
    large = fit_mask(mask, height * times, width * times)
    assert np.array_equal(large, mask.repeat(times, 0).repeat(times, 1))
    assert np.array_equal(fit_mask(large, height, width), mask)
