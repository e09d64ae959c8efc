"""Releases with boxes, on tiny made-up ones."""

import pytest
from release_helpers import by_name, read, write_release

from fx_mm.utils.errors import UserError

KAGGLE = 'image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n'
OFFICIAL = 'image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n'


def rsna_files():
    return {
        'stage_2_train_labels.csv': 'patientId,x,y,width,height,Target\n'
        'a,,,,,0\nb,264.0,152.0,213.0,379.0,1\nb,5,6,7,8,1\nc,,,,,0\n',
        'stage_2_detailed_class_info.csv': 'patientId,class\n'
        'a,No Lung Opacity / Not Normal\nb,Lung Opacity\nb,Lung Opacity\n'
        'c,Normal\n',
    }


def test_rsna_reads_boxes_and_one_class_an_image(tmp_path):
    root = write_release(tmp_path, rsna_files())
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
    found = read('rsna', write_release(tmp_path, files))
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
        read('rsna', write_release(tmp_path, files))


@pytest.mark.parametrize('folder', ['cxr_images/proccessed_data', '.', 'a/b'])
def test_node21_reads_rows_of_both_kinds(tmp_path, folder):
    table = (
        ',height,img_name,label,width,x,y\n'
        '0,29,n0001.mha,1,31,500,400\n1,20,n0001.mha,1,22,100,100\n'
        '2,0,c0001.mha,0,0,0,0\n'
    )
    root = write_release(tmp_path, {f'{folder}/metadata.csv': table})
    nodules, clear = read('node21', root)
    assert clear.boxes == [] and clear.labels == dict(Nodule=0)
    assert nodules.boxes == [
        ('Nodule', 500, 400, 531, 429),
        ('Nodule', 100, 100, 122, 120),
    ]
    assert nodules.labels == dict(Nodule=1) and nodules.name == 'n0001.png'
    assert nodules.source == root / folder / 'images' / 'n0001.mha'


def test_node21_takes_the_processed_images(tmp_path):
    head = ',height,img_name,label,width,x,y\n'
    root = write_release(
        tmp_path,
        {
            'x/original_data/metadata.csv': f'{head}0,0,a.mha,0,0,0,0\n',
            'x/proccessed_data/metadata.csv': f'{head}0,0,b.mha,0,0,0,0\n',
        },
    )
    assert [e.name for e in read('node21', root)] == ['b.png']


def coco(*images, notes=()):
    return dict(
        images=[dict(id=i, file_name=name) for i, name in enumerate(images)],
        annotations=[
            dict(id=9, image_id=i, category_id=c, bbox=box)
            for i, c, box in notes
        ],
    )


def test_tbx11k_unites_all_kinds_and_tests_on_its_validation(tmp_path):
    notes = [(1, 1, [1.5, 2, 3, 4]), (1, 3, [5, 6, 7, 8])]
    files = {
        'annotations/json/TBX11K_train.json': coco(
            'health/h1.png', 'tb/tb1.png', notes=notes
        ),
        'annotations/json/TBX11K_val.json': coco('sick/s1.png'),
    }
    root = write_release(tmp_path, files)
    found = by_name('tbx11k', root)
    assert found['health/h1.png'].boxes == []
    assert found['health/h1.png'].labels == dict(Tuberculosis=0)
    assert found['tb/tb1.png'].boxes == [
        ('Tuberculosis', 1.5, 2, 4.5, 6),
        ('Tuberculosis', 5, 6, 12, 14),
    ]
    assert found['tb/tb1.png'].labels == dict(Tuberculosis=1)
    assert found['tb/tb1.png'].source == root / 'imgs' / 'tb' / 'tb1.png'
    assert [e.split for e in found.values()] == ['train', 'train', 'test']


@pytest.mark.parametrize(
    ('notes', 'message'),
    [
        ([(5, 1, [1, 2, 3, 4])], 'annotations 1: is of image 5, which is not'),
        ([(0, 1, [1, 2, 0, 4])], 'annotations 1: the box of Tuberculosis'),
        ([(0, 1, None)], 'annotations 1: the box of Tuberculosis'),
    ],
)
def test_tbx11k_refuses_broken_annotations(tmp_path, notes, message):
    data = coco('tb/a.png', notes=notes)
    files = {'annotations/json/TBX11K_train.json': data}
    with pytest.raises(UserError, match=message):
        read('tbx11k', write_release(tmp_path, files))


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
    root = write_release(tmp_path, vindr_files())
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
    once = read('vindr_findings', write_release(tmp_path / '1', files))
    head, *rows = files['annotations/annotations_train.csv'].splitlines()
    rows = '\n'.join([head, *reversed(rows)])
    files['annotations/annotations_train.csv'] = rows
    again = read('vindr_findings', write_release(tmp_path / '2', files))
    boxes = [{e.name: e.boxes for e in found} for found in (once, again)]
    assert boxes[0] == boxes[1]


def test_vindr_keeps_all_boxes_and_merges_rare_ones_if_asked(tmp_path):
    root = write_release(tmp_path, vindr_files())
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
    root = write_release(tmp_path, {'train.csv': table})
    first, second = read('vindr_findings', root)
    assert (first.boxes, first.split) == ([], None)
    assert second.boxes == [('ILD', 1, 2, 3, 4)]


def test_vindr_refuses_unknown_labels_and_options(tmp_path):
    files = {'train.csv': f'{KAGGLE}a,Gout,5,R1,1,2,3,4\n'}
    root = write_release(tmp_path, files)
    with pytest.raises(UserError, match='csv, row 2: unknown label "Gout"'):
        read('vindr_findings', root)
    with pytest.raises(
        UserError, match='readers of vindr_findings is fuse or'
    ):
        read('vindr_findings', root, readers='one')
    with pytest.raises(UserError, match='Option rare of vindr_findings is'):
        read('vindr_findings', root, rare='keep')
