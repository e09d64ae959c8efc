"""JSRT: folds of mask files."""

import numpy as np
import pytest
from raw_helpers import drawn, read, save_mask, write_files

from fx_mm.utils.errors import UserError

STRUCTURES = ('heart', 'left lung', 'right lung', 'left clavicle')
STRUCTURES += ('right clavicle',)


@pytest.mark.parametrize('folder', ['scratch/', '', 'scr/'])
def test_jsrt_splits_by_the_folds_of_its_masks(tmp_path, mask, folder):
    root = write_files(
        tmp_path,
        {
            'All247images/JPCLN001.IMG': '',
            'All247images/JPCNN002.IMG': '',
            'Clinical_Information/CLNDAT_EN.txt': 'JPCLN001.IMG\t5\t15\t53'
            '\tmale\t1634\t692\tmalignant\n',
        },
    )
    for fold, name in (('fold1', 'JPCLN001'), ('fold2', 'JPCNN002')):
        for number, structure in enumerate(STRUCTURES):
            path = root / f'{folder}{fold}' / 'masks' / structure
            save_mask(path / f'{name}.gif', np.roll(mask, number, 1))
    first, test = read('jsrt', root)
    assert (first.split, test.split) == ('train', 'test')
    assert first.labels == dict(Nodule=1) and test.labels == dict(Nodule=0)
    assert first.metadata == dict(sex='M', age=53) and test.metadata == {}
    assert first.source == root / 'All247images' / 'JPCLN001.IMG'
    assert first.name == 'JPCLN001.png'
    double = mask.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(drawn(first, 'Heart', (32, 24)), double)
    lungs = np.roll(mask, 1, 1) | np.roll(mask, 2, 1)
    assert np.array_equal(drawn(test, 'Lung'), lungs)
    clavicles = np.roll(mask, 3, 1) | np.roll(mask, 4, 1)
    assert np.array_equal(drawn(test, 'Clavicle'), clavicles)


def test_jsrt_needs_the_masks_of_every_image(tmp_path):
    files = dict.fromkeys(('All247images/JPCLN001.IMG', 'fold1/x'), '')
    root = write_files(tmp_path, files | {'fold2/x': ''})
    message = 'JPCLN001.IMG: has no mask masks/heart/JPCLN001.gif in fold1'
    with pytest.raises(UserError, match=message):
        read('jsrt', root)
