"""RSNA: tables with one row per box."""

import pytest
from raw_helpers import by_name, read, write_files

from fx_mm.utils.errors import UserError


def rsna_files():
    return {
        'stage_2_train_labels.csv': 'patientId,x,y,width,height,Target\n'
        'a,,,,,0\nb,264.0,152.0,213.0,379.0,1\nb,5,6,7,8,1\nc,,,,,0\n',
        'stage_2_detailed_class_info.csv': 'patientId,class\n'
        'a,No Lung Opacity / Not Normal\nb,Lung Opacity\nb,Lung Opacity\n'
        'c,Normal\n',
    }


def test_rsna_reads_boxes_and_one_class_per_image(tmp_path):
    root = write_files(tmp_path, rsna_files())
    found = by_name('rsna', root)
    assert found['a.png'].boxes == [] and found['c.png'].boxes == []
    assert found['b.png'].boxes == [
        ('Lung Opacity', 264, 152, 477, 531),
        ('Lung Opacity', 5, 6, 12, 14),
    ]
    assert {n: list(e.labels.values()) for n, e in found.items()} == {
        'a.png': [0, 1, 0],
        'b.png': [0, 0, 1],
        'c.png': [1, 0, 0],
    }
    assert found['b.png'].source == root / 'stage_2_train_images' / 'b.dcm'
    assert found['b.png'].patient == 'b' and found['b.png'].split is None


def test_rsna_knows_the_patients_of_chestxray14(tmp_path):
    files = rsna_files()
    files['pneumonia-challenge-dataset-mappings_2018.json'] = [
        dict(subset_img_id='a', img_id='00000007_001.png'),
        dict(subset_img_id='b', img_id='00000007_002.png'),
    ]
    found = read('rsna', write_files(tmp_path, files))
    assert [e.patient for e in found] == ['00000007', '00000007', 'c']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (('c,Normal', ''), 'info.csv: has no row for image c; is the file'),
        (('c,Normal', 'c,Nrmal'), 'row 5: unknown class "Nrmal"; known: No'),
        (('5,6,7,8,1', '5,6,0,8,1'), r'row 4: the box of Lung Opacity \(5, 6'),
        (('264.0,', ','), r'row 3: the box of Lung Opacity \(, 152.0'),
        (('8,1\n', '8,yes\n'), 'row 4: label "yes" is none of 0, 1, -1 and'),
    ],
)
def test_rsna_refuses_broken_tables_by_row(tmp_path, change, message):
    files = {k: v.replace(*change) for k, v in rsna_files().items()}
    with pytest.raises(UserError, match=message):
        read('rsna', write_files(tmp_path, files))
