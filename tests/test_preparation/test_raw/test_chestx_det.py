"""ChestX-Det: instances with box and polygon."""

import numpy as np
import pytest
from raw_helpers import drawn, read, write_files

from fx_mm.utils.errors import UserError


def chestx_image(name='1.png', syms=(), boxes=(), polygons=()):
    return dict(file_name=name, syms=syms, boxes=boxes, polygons=polygons)


SQUARE = [[2, 3], [6, 3], [6, 8], [2, 8]]


def test_chestx_det_reads_instances(tmp_path, mask):
    found = dict(
        syms=['Mass', 'Mass', 'Effusion'],
        boxes=[[2, 3, 6, 8], [1, 2, 3, 4], [5, 6, 7, 8]],
        polygons=[SQUARE, [[9, 9], [10, 9], [10, 10]], SQUARE],
    )
    files = {
        'ChestX_Det_train.json': [chestx_image(**found)],
        'ChestX_Det_test.json': [chestx_image('2.png')],
    }
    root = write_files(tmp_path, files)
    sick, healthy = read('chestx_det', root)
    assert healthy.boxes == [] and not any(healthy.labels.values())
    assert len(healthy.masks) == 13 and not any(healthy.masks.values())
    assert healthy.name == 'test_data/2.png' and healthy.split == 'test'
    assert sick.boxes[0] == ('Mass', 2, 3, 6, 8) and len(sick.boxes) == 3
    assert {c for c, v in sick.labels.items() if v} == {'Mass', 'Effusion'}
    assert len(sick.masks['Mass']) == 2
    assert np.array_equal(drawn(sick, 'Effusion'), mask)
    assert sick.source == root / 'train_data' / '1.png'


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (dict(syms=['Mass']), r'entry 1 \(1.png\): has 1 findings, 0 boxes'),
        (dict(syms=['Gout']), r'entry 1 \(1.png\): unknown finding "Gout"'),
        (
            dict(syms=['Mass'], boxes=[[1, 2, 3, 4]], polygons=[[[1, 2]]]),
            r'entry 1 \(1.png\): a polygon needs three or more points',
        ),
        (
            dict(syms=['Mass'], boxes=[[1, 2, 1, 4]], polygons=[SQUARE]),
            r'entry 1 \(1.png\): the box of Mass \(1, 2, 1, 4\) is no',
        ),
    ],
)
def test_chestx_det_refuses_broken_entries(tmp_path, image, message):
    files = {'ChestX_Det_train.json': [chestx_image(**image)]}
    with pytest.raises(UserError, match=message):
        read('chestx_det', write_files(tmp_path, files))
