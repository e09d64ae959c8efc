"""Labels of boxes stand apart, within the picture, near their boxes."""

from itertools import combinations

import numpy as np
import pytest

from fx_mm.visualization.labels import COVERED, draw_labels, place_labels
from fx_mm.visualization.text import line_height, text_width

SHAPE = (256, 256)
GREEN = (90, 220, 90)


def apart(one, other):
    return (
        one[2] <= other[0]
        or other[2] <= one[0]
        or one[3] <= other[1]
        or other[3] <= one[1]
    )


def check(places, shape=SHAPE):
    """No label over another or beyond the edge; return those with a place."""
    found = [place for place in places if place is not None]
    for left, top, right, bottom in found:
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]
    for one, other in combinations(found, 2):
        assert apart(one, other), (one, other)
    return found


def test_no_boxes():
    assert place_labels([], [], SHAPE) == []
    picture = np.full((*SHAPE, 3), 99, np.uint8)
    assert draw_labels(picture, []) == []
    assert (picture == 99).all()


def test_one_label_is_above_its_box():
    (place,) = place_labels([(50, 100, 90, 140)], [(60, 15)], SHAPE)
    assert place == (50, 85, 110, 100)


@pytest.mark.parametrize('n', [2, 5, 14])
def test_coinciding_boxes(n):
    box = (80, 80, 160, 160)
    places = place_labels([box] * n, [(70, 15)] * n, SHAPE)
    assert len(check(places)) == n


@pytest.mark.parametrize(
    'box',
    [
        (0, 0, 256, 256),
        (0, 0, 5, 5),
        (251, 0, 256, 5),
        (0, 251, 5, 256),
        (251, 251, 256, 256),
        (120, 0, 130, 256),
    ],
)
def test_boxes_at_the_edge(box):
    sizes = [(100, 15), (30, 15)]
    assert len(check(place_labels([box, box], sizes, SHAPE))) == 2


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize(
    'shape', [(256, 256), (64, 64), (40, 300), (1024, 1024)]
)
def test_many_boxes(seed, shape):
    rng = np.random.default_rng(seed)
    scale = np.array([shape[1], shape[0]] * 2)
    corners = rng.random((60, 4))
    corners[:, 2:] = np.maximum(corners[:, :2], corners[:, 2:])
    boxes = [tuple(row) for row in (corners * scale).astype(int).tolist()]
    sizes = [(int(w), 15) for w in rng.integers(20, 90, 60)]
    found = check(place_labels(boxes, sizes, shape), shape)
    covered = sum((r - x) * (b - y) for x, y, r, b in found)
    assert covered <= COVERED * shape[0] * shape[1]
    assert found or shape == (64, 64)


def test_a_label_wider_than_the_picture_has_no_place():
    assert place_labels([(0, 0, 9, 9)], [(300, 15)], SHAPE) == [None]
    assert place_labels([(0, 0, 9, 9)], [(20, 15)], (10, 256)) == [None]


def test_what_has_no_room_is_returned():
    names = [f'class {i % 10}' for i in range(60)]
    labels = [((10, 10, 50, 50), name, GREEN) for name in names]
    picture = np.full((128, 128, 3), 200, np.uint8)
    left_out = draw_labels(picture, labels)
    counts = {
        text.split(' (')[0]: int(text.split('(')[1].split()[0])
        if '(' in text
        else 1
        for text, _ in left_out
    }
    room = COVERED * 128 * 128 / (text_width('class 0') * line_height())
    assert sum(counts.values()) == 60 - int(room)
    assert set(counts) <= set(names)


def test_a_line_leads_to_a_box_that_is_not_touched():
    # the second label cannot stand at its box
    tiny = (120, 120, 124, 124)
    picture = np.zeros((*SHAPE, 3), np.uint8)
    blue = (0, 0, 255)
    draw_labels(picture, [(tiny, 'one', GREEN), (tiny, 'two', GREEN)] * 3)
    draw_labels(picture, [((250, 250, 256, 256), 'Nähe', blue)])
    assert (picture == np.array(blue)).all(-1).any()


def test_text_is_readable_on_white_and_black():
    for light in (0, 255):
        picture = np.full((*SHAPE, 3), light, np.uint8)
        draw_labels(picture, [((50, 100, 90, 140), 'mass', GREEN)])
        label = picture[85:100, 50 : 50 + text_width('mass')].astype(int)
        ink = (label == np.array(GREEN)).all(-1)
        assert ink.any()
        ground = np.median(label.sum(-1))
        assert label[ink].sum(-1).min() - ground > 100
