"""SIIM-ACR: relative run lengths."""

import numpy as np
import pytest
from raw_helpers import drawn, read, read_with_notes, write_files

from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.utils.errors import UserError


@pytest.mark.parametrize('empty', ['-1', ' -1', ''])
@pytest.mark.parametrize('table', ['train-rle.csv', 'stage_2_train.csv'])
def test_siim_reads_a_row_per_piece(tmp_path, mask, table, empty):
    rows = [
        'ImageId, EncodedPixels',
        f'1.2.3,{empty}',
        f'1.2.4,{encode_runs(mask, True, True)}',
        f'1.2.4,{encode_runs(mask[:, ::-1], True, True)}',
    ]
    files = {
        table: '\n'.join(rows),
        'dicom-images-train/7/8/1.2.4.dcm': '',
        'dicom-images-train/7/8/1.2.5.dcm': '',
    }
    root = write_files(tmp_path, files)
    (healthy, sick), notes = read_with_notes('siim_acr', root)
    assert notes == [f'images without a row in {table}: 1 skipped']
    assert healthy.labels == dict(Pneumothorax=0)
    assert healthy.masks == dict(Pneumothorax=[]) and healthy.boxes is None
    assert healthy.source == root / '1.2.3.dcm'
    assert sick.labels == dict(Pneumothorax=1) and sick.name == '1.2.4.png'
    assert len(sick.masks['Pneumothorax']) == 2
    assert np.array_equal(drawn(sick, 'Pneumothorax'), mask | mask[:, ::-1])
    assert sick.source.relative_to(root).parts[-1] == '1.2.4.dcm'


def test_siim_names_the_row_of_a_broken_code(tmp_path):
    table = 'ImageId, EncodedPixels\n1.2,1 2 3\n'
    (entry,) = read(
        'siim_acr', write_files(tmp_path, {'train-rle.csv': table})
    )
    with pytest.raises(
        UserError, match='train-rle.csv, row 2: the run-length'
    ):
        drawn(entry, 'Pneumothorax')
