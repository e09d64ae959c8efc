"""The grid-drawing functions of contact sheets."""

import numpy as np
import pytest

from fx_mm.visualization.contact_sheet import (
    GAP,
    LISTED,
    PALETTE,
    UNKNOWN,
    color_of,
    draw_tile,
    make_grid,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)


def has(tile, color):
    return (tile == np.array(color)).all(axis=-1)


def test_tile_keeps_the_aspect_ratio():
    tile = draw_tile(np.full((50, 100), 200, np.uint8), size=64)
    assert tile.shape == (64, 64, 3) and tile.dtype == np.uint8
    assert (tile[16:48] == 200).all()
    assert (tile[:16] < 50).all() and (tile[48:] < 50).all()


def test_box_is_drawn_at_its_place():
    image = np.zeros((100, 100), np.uint8)
    tile = draw_tile(image, boxes=[(10, 20, 60, 90, '', RED)], size=200)
    rows, columns = np.nonzero(has(tile, RED))
    assert (rows.min(), rows.max()) == (40, 180)
    assert (columns.min(), columns.max()) == (20, 120)
    assert not has(tile, RED)[50:170, 30:110].any()


def test_mask_and_empty_mask():
    image = np.zeros((40, 40), np.uint8)
    mask = np.zeros((40, 40), bool)
    plain = draw_tile(image, masks=[(mask, GREEN)], size=80)
    assert np.array_equal(plain, draw_tile(image, size=80))
    mask[10:30, 10:30] = True
    tile = draw_tile(image, masks=[(mask, GREEN)], size=80)
    assert has(tile, GREEN).sum() == 4 * 39  # 20 to 60, the line within
    assert 0 < tile[40, 40, 1] < 100
    hole = mask.copy()
    hole[15:25, 15:25] = False
    assert has(
        draw_tile(image, masks=[(hole, GREEN)], size=80), GREEN
    ).sum() > (4 * 39 + 4 * 19)


def test_caption_adds_lines():
    image = np.zeros((32, 32, 3), np.uint8)
    tile = draw_tile(image, caption_lines=['näme', 'two words'], size=64)
    assert tile.shape == (94, 64, 3)
    assert (tile[64:79] > 150).any() and (tile[79:] > 150).any()
    longer = draw_tile(image, caption_lines=['näme', 'x' * 50], size=64)
    assert longer.shape[0] > 94, 'a long line goes on below'
    assert np.array_equal(longer[:79], tile[:79])


@pytest.mark.parametrize(
    'shape', [(64, 64), (2000, 1500), (1, 3000), (3000, 2)]
)
@pytest.mark.parametrize('size', [64, 256])
def test_any_size_of_image(shape, size):
    image = np.full(shape, 90, np.uint8)
    boxes = [(0, 0, shape[1], shape[0], 'Nähe 0.83', RED)] * 14
    tile = draw_tile(image, boxes, [(image > 0, GREEN)], ['id'], size)
    assert tile.shape[1] == size and tile.shape[0] > size
    # labels hide little of a line
    rows, columns = np.nonzero(has(tile[:size], RED))
    low, high = columns.min(), columns.max()
    assert high - low >= 0.9 * size * min(shape[1] / shape[0], 1) - 1


def test_a_box_beyond_the_image_ends_at_its_edge():
    image = np.zeros((50, 100), np.uint8)
    tile = draw_tile(image, [(-30, -30, 130, 80, '', RED)], size=200)
    rows, columns = np.nonzero(has(tile, RED))
    assert (rows.min(), rows.max()) == (50, 149)
    assert (columns.min(), columns.max()) == (0, 199)
    nan = float('nan')
    plain = draw_tile(image, [(0, 0, nan, 9, 'mass', RED)], size=200)
    assert np.array_equal(plain, draw_tile(image, size=200))


def test_labels_without_room_are_listed_below():
    image = np.zeros((64, 64), np.uint8)
    boxes = [(9, 9, 30, 30, f'class {i}', RED) for i in range(60)]
    tile = draw_tile(image, boxes, size=128)
    assert has(tile[128:], RED).any()
    assert tile.shape[0] <= 128 + 15 * (LISTED + 1), 'the list has an end'


def test_ignored_regions_are_striped():
    image = np.full((100, 100), 90, np.uint8)
    ignore = np.zeros((100, 100), bool)
    ignore[:50] = True
    tile = draw_tile(image, ignored=ignore, size=100)
    striped = has(tile, UNKNOWN)
    assert 0.2 < striped[:50].mean() < 0.3
    assert not striped[50:].any()
    assert (tile[50:] == 90).all()


def test_a_lesion_of_one_pixel_stays():
    mask = np.zeros((2000, 2000), bool)
    mask[1000, 1000] = True
    image = np.zeros((2000, 2000), np.uint8)
    tile = draw_tile(image, masks=[(mask, GREEN)], size=256)
    assert has(tile, GREEN)[126:131, 126:131].sum() == 1


def test_other_pixel_types_are_refused():
    with pytest.raises(TypeError, match='uint8'):
        draw_tile(np.zeros((8, 8), np.float32))


def test_grid_holds_all_tiles():
    tiles = [np.full((20, 30, 3), 40 * (i + 1), np.uint8) for i in range(5)]
    sheet = make_grid(tiles, columns=2, title='five')
    for i in range(5):
        assert (sheet == 40 * (i + 1)).all(-1).sum() >= 600
    assert sheet.shape[1] == 2 * (30 + GAP) + GAP
    with pytest.raises(ValueError, match='needs a tile'):
        make_grid([], 2)


def test_grid_aligns():
    sizes = [(20, 30), (50, 30), (20, 40), (20, 10), (70, 30)]
    tiles = [
        np.full((*size, 3), 100 + i, np.uint8) for i, size in enumerate(sizes)
    ]
    sheet = make_grid(tiles, columns=2, title='x' * 500)
    corners = [np.argwhere((sheet == 100 + i).all(-1)) for i in range(5)]
    tops = [place[:, 0].min() for place in corners]
    lefts = [place[:, 1].min() for place in corners]
    assert [len(place) for place in corners] == [h * w for h, w in sizes]
    assert tops[0] == tops[1] and tops[2] == tops[3]
    assert lefts[0] == lefts[2] == lefts[4] and lefts[1] == lefts[3]
    # no wider than the widest tiles, no higher than the highest of each row
    assert tops[2] == tops[0] + 50 + GAP and tops[4] == tops[2] + 20 + GAP
    assert lefts[1] == GAP + 40 + GAP
    assert (sheet[:, -GAP:] == sheet[0, 0]).all(), 'the title ends before'


def test_colors():
    names = ['a', 'b']
    assert color_of('b', names) == PALETTE[1]
    assert color_of('unknown') == color_of('unknown')
