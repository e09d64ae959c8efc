"""VinDr-RibCXR: a polygon per rib."""

import numpy as np
import pytest
from raw_helpers import drawn, read, write_files

from fx_mm.preparation.raw.vindr_ribcxr import CLASSES
from fx_mm.utils.errors import UserError


def rib_data(image, as_list=False, **ribs):
    box = [dict(x=x, y=y) for x, y in ((2, 3), (6, 3), (6, 8), (2, 8))]
    data = {'img': {'0': image}}
    data |= {rib: {'0': ribs.get(rib, box)} for rib in CLASSES}
    return {k: list(v.values()) for k, v in data.items()} if as_list else data


@pytest.mark.parametrize('as_list', [False, True])
@pytest.mark.parametrize('folder', ['', 'Annotations/train/'])
def test_ribs_may_be_none(tmp_path, mask, as_list, folder):
    files = {
        f'{folder}Vindr_RibCXR_train_mask.json': rib_data(
            'data/train/img/t_000.png', as_list, R1='None'
        ),
        f'{folder}Vindr_RibCXR_val_mask.json': rib_data(
            'data/val/img/v_000.png', as_list, L10=None
        ),
        'Data/train/img/t_000.png': '',
    }
    first, test = read('vindr_ribcxr', write_files(tmp_path, files))
    assert first.masks['R1'] == [] and test.masks['L10'] == []
    assert len(first.masks) == 20
    assert np.array_equal(drawn(first, 'L10'), mask)
    assert first.name == 'Data/train/img/t_000.png'
    assert test.name == 'data/val/img/v_000.png'
    assert (first.split, test.split) == ('train', 'test')


@pytest.mark.parametrize('points', [[dict(x=1, y=2)], [dict(a=1)] * 4, 'x'])
def test_a_broken_rib_is_named(tmp_path, points):
    name = 'Vindr_RibCXR_train_mask.json'
    root = write_files(tmp_path, {name: rib_data('a.png', R3=points)})
    with pytest.raises(
        UserError, match='json, R3 of image 0: a polygon needs'
    ):
        read('vindr_ribcxr', root)


def test_a_file_without_all_ribs_is_refused(tmp_path):
    data = rib_data('a.png')
    del data['L2']
    root = write_files(tmp_path, {'VinDr_RibCXR_train_mask.json': data})
    with pytest.raises(UserError, match='json: has no "L2"; is it the offic'):
        read('vindr_ribcxr', root)
