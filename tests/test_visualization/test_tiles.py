"""The grid-drawing functions of contact sheets."""

import numpy as np
import pytest

from fx_mm.visualization.contact_sheet import (
    PALETTE,
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
    assert (tile[..., 1] > 200).sum() > 100
    assert 0 < tile[40, 40, 1] < 100


def test_caption_adds_lines():
    image = np.zeros((32, 32, 3), np.uint8)
    tile = draw_tile(image, caption_lines=['näme', 'x' * 200], size=64)
    assert tile.shape == (94, 64, 3)
    assert (tile[64:79] > 150).any() and (tile[79:] > 150).any()


def test_other_pixel_types_are_refused():
    with pytest.raises(TypeError, match='uint8'):
        draw_tile(np.zeros((8, 8), np.float32))


def test_grid_holds_all_tiles():
    tiles = [np.full((20, 30, 3), 40 * (i + 1), np.uint8) for i in range(5)]
    sheet = make_grid(tiles, columns=2, title='five')
    for i in range(5):
        assert (sheet == 40 * (i + 1)).all(-1).sum() >= 600
    assert sheet.shape[1] < 3 * 36
    with pytest.raises(ValueError, match='needs a tile'):
        make_grid([], 2)


def test_colors():
    names = ['a', 'b']
    assert color_of('b', names) == PALETTE[1]
    assert color_of('unknown') == color_of('unknown')
