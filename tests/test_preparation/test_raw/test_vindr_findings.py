"""VinDr-CXR: boxes of three readers."""

import pytest
from raw_helpers import by_name, read, write_files

from fx_mm.utils.errors import UserError

KAGGLE = 'image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n'


OFFICIAL = 'image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n'


def vindr_files():
    test = OFFICIAL.replace('rad_id,', '')
    return {
        'annotations/annotations_train.csv': f'{OFFICIAL}'
        'a,R1,No finding,,,,\na,R2,No finding,,,,\n'
        'b,R2,Cardiomegaly,12,10,32,30\nb,R1,Cardiomegaly,10,10,30,30\n'
        'b,R3,Cardiomegaly,200,10,230,30\nb,R3,ILD,10,10,30,30\n'
        'b,R3,Rib fracture,1,1,3,3\n',
        'annotations/annotations_test.csv': f'{test}'
        'c,Nodule/Mass,1,2,3,4\nc,Nodule/Mass,1,2,3,5\nd,No finding,,,,\n',
    }


def test_vindr_fuses_the_readers_of_a_train_image_by_class(tmp_path):
    root = write_files(tmp_path, vindr_files())
    found = by_name('vindr_findings', root)
    assert found['train/a.png'].boxes == []
    assert found['test/d.png'].boxes == []
    assert found['train/b.png'].boxes == [
        ('Cardiomegaly', 11, 10, 31, 30),
        ('Cardiomegaly', 200, 10, 230, 30),
        ('ILD', 10, 10, 30, 30),
        ('Rib fracture', 1, 1, 3, 3),
    ]
    # the consensus of the test images stays as it is
    assert len(found['test/c.png'].boxes) == 2
    assert [e.split for e in found.values()] == ['train'] * 2 + ['test'] * 2
    assert found['train/b.png'].source == root / 'train' / 'b.dicom'


def test_vindr_fusion_does_not_depend_on_the_order_of_rows(tmp_path):
    files = vindr_files()
    once = read('vindr_findings', write_files(tmp_path / '1', files))
    head, *rows = files['annotations/annotations_train.csv'].splitlines()
    rows = '\n'.join([head, *reversed(rows)])
    files['annotations/annotations_train.csv'] = rows
    again = read('vindr_findings', write_files(tmp_path / '2', files))
    boxes = [{e.name: e.boxes for e in found} for found in (once, again)]
    assert boxes[0] == boxes[1]


def test_vindr_keeps_all_boxes_and_merges_rare_ones_if_asked(tmp_path):
    root = write_files(tmp_path, vindr_files())
    options = dict(readers='all', rare='other_lesion')
    found = by_name('vindr_findings', root, **options)['train/b.png'].boxes
    assert [box[0] for box in found] == [
        *['Cardiomegaly'] * 3,
        'ILD',
        'Other lesion',
    ]
    apart = by_name('vindr_findings', root, iou=0.9)['train/b.png'].boxes
    assert len(apart) == 5


def test_vindr_splits_the_train_images_of_kaggle(tmp_path):
    table = f'{KAGGLE}a,No finding,14,R1,,,,\nb,ILD,5,R1,1.0,2.0,3.0,4.0\n'
    root = write_files(tmp_path, {'train.csv': table})
    first, second = read('vindr_findings', root)
    assert (first.boxes, first.split) == ([], None)
    assert second.boxes == [('ILD', 1, 2, 3, 4)]


def test_vindr_refuses_unknown_labels_and_options(tmp_path):
    files = {'train.csv': f'{KAGGLE}a,Gout,5,R1,1,2,3,4\n'}
    root = write_files(tmp_path, files)
    with pytest.raises(UserError, match='csv, row 2: unknown label "Gout"'):
        read('vindr_findings', root)
    with pytest.raises(
        UserError, match='readers of vindr_findings is fuse or'
    ):
        read('vindr_findings', root, readers='one')
    with pytest.raises(UserError, match='Option rare of vindr_findings is'):
        read('vindr_findings', root, rare='keep')
