"""CheXmask on VinDr-CXR: absolute run lengths."""

import numpy as np
import pytest
from raw_helpers import drawn, read, read_with_notes, write_files

from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.utils.errors import UserError

CHEXMASK = (
    'image_id,Dice RCA (Max),Dice RCA (Mean),Landmarks,Left Lung,Right Lung,'
    'Heart,Height,Width\n'
)


def organ_files(mask):
    code = encode_runs(mask, False, False)
    return {
        'OriginalResolution/VinDr-CXR.csv': f'{CHEXMASK}'
        f'a,0.9,0.8,"[1, 2]",{code},,{code},16,12\n'
        f'b,0.9,0.6,"[1, 2]",{code},{code},{code},16.0,12.0\n',
        'annotations/image_labels_test.csv': 'image_id\nb\n',
    }


def test_organs_are_drawn_by_rows_and_split_as_vindr(tmp_path, mask):
    root = write_files(tmp_path, organ_files(mask))
    first, test = read('vindr_organs', root)
    assert first.masks['Right lung'] == []
    assert np.array_equal(drawn(first, 'Left lung'), mask)
    assert np.array_equal(drawn(first, 'Heart'), mask)
    assert first.name == 'train/a.png' and first.split == 'train'
    assert test.name == 'test/b.png' and test.split == 'test'
    double = mask.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(drawn(test, 'Right lung', (32, 24)), double)


@pytest.mark.parametrize('edge', ['0', '-5', '1e9', 'inf', 'x'])
def test_organs_of_an_impossible_size_are_refused(tmp_path, mask, edge):
    files = organ_files(mask)
    name = 'OriginalResolution/VinDr-CXR.csv'
    files[name] = files[name].replace(',16,12', f',16,{edge}')
    with pytest.raises(UserError, match='row 2: Height "16", Width .* cannot'):
        read('vindr_organs', write_files(tmp_path, files))


def test_doubtful_organs_are_skipped_if_asked(tmp_path, mask):
    root = write_files(tmp_path, organ_files(mask))
    (first,), notes = read_with_notes('vindr_organs', root, min_dice=0.7)
    assert first.name == 'train/a.png'
    assert notes == ['images with an estimated Dice below 0.7: 1 skipped']


def test_organs_know_test_images_by_their_folder(tmp_path, mask):
    files = organ_files(mask)
    del files['annotations/image_labels_test.csv']
    files['test/b.dicom'] = ''
    first, test = read('vindr_organs', write_files(tmp_path, files))
    assert (first.split, test.split) == ('train', 'test')


def test_organs_need_to_know_the_test_images(tmp_path, mask):
    files = organ_files(mask)
    del files['annotations/image_labels_test.csv']
    with pytest.raises(
        UserError, match='has no annotations/image_labels_test'
    ):
        read('vindr_organs', write_files(tmp_path, files))


def test_organs_refuse_a_size_that_is_no_number(tmp_path, mask):
    files = organ_files(mask)
    name = 'OriginalResolution/VinDr-CXR.csv'
    files[name] = files[name].replace('16,12', 'x,12')
    with pytest.raises(UserError, match='row 2: Height "x", Width "12"'):
        read('vindr_organs', write_files(tmp_path, files))
