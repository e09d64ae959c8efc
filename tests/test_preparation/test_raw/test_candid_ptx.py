"""CANDID-PTX: relative run lengths and patients."""

import numpy as np
import pytest
from raw_helpers import drawn, read, read_with_notes, write_files

from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.utils.errors import UserError


@pytest.mark.parametrize('suffix', ['', '.dcm'])
def test_candid_reads_pieces_and_patients(tmp_path, mask, suffix):
    rows = [
        'filename,SOPInstanceUID,EncodedPixels,Report',
        'P7_1,1.2.3,-1,"normal,\nreally"',
        f'P7_2,1.2.4,{encode_runs(mask, True, True)},none',
        'P8_1,1.2.5,-1,x',
        'P9_1,1.2.5,-1,x',
    ]
    files = {'Pneumothorax_reports.csv': '\n'.join(rows)}
    files[f'dataset/1.2.4{suffix}'] = ''
    root = write_files(tmp_path, files)
    (healthy, sick), notes = read_with_notes('candid_ptx', root)
    assert healthy.labels == dict(Pneumothorax=0)
    assert healthy.masks == dict(Pneumothorax=[])
    assert healthy.patient == sick.patient == 'P7'
    assert sick.source == root / 'dataset' / f'1.2.4{suffix}'
    assert sick.name == '1.2.4.png'
    assert np.array_equal(drawn(sick, 'Pneumothorax'), mask)
    assert notes == [
        'images that the table gives to several patients: 1 skipped'
    ]


def test_candid_codes_may_run_along_the_rows(tmp_path, mask):
    text = encode_runs(mask, False, True)
    table = f'SOPInstanceUID,EncodedPixels,Report\n1.2,{text},none\n'
    root = write_files(tmp_path, {'Pneumothorax_reports.csv': table})
    (entry,) = read('candid_ptx', root, order='row')
    assert np.array_equal(drawn(entry, 'Pneumothorax'), mask)
    assert entry.patient == '1.2'
    with pytest.raises(UserError, match='is "column" or "row", not "rows"'):
        read('candid_ptx', root, order='rows')
