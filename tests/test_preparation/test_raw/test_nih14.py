"""ChestX-ray14: a table, two lists, boxes."""

import pytest
from PIL import Image
from raw_helpers import by_name, read, read_with_notes, write_files

from fx_mm.utils.errors import UserError

NIH = (
    'Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,'
    'Patient Gender,View Position,OriginalImage[Width,Height],'
    'OriginalImagePixelSpacing[x,y],'
)


def nih_files():
    return {
        'Data_Entry_2017_v2020.csv': f'{NIH}\n'
        '00000001_000.png,No Finding,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n'
        '00000002_000.png,Infiltration|Mass,0,2,8,F,AP,2500,2048,0.1,0.1,\n'
        '00000003_000.png,Hernia,0,3,8,F,AP,2500,2048,0.1,0.1,\n',
        'train_val_list.txt': '00000001_000.png\r\n',
        'test_list.txt': '00000002_000.png',
    }


def test_nih14_reads_labels_lists_and_metadata(tmp_path):
    root = write_files(tmp_path, nih_files())
    (healthy, sick), notes = read_with_notes('nih14', root)
    assert notes == ['images that are in neither of the two lists: 1 skipped']
    assert set(healthy.labels.values()) == {0} and healthy.boxes is None
    assert healthy.patient == '00000001' and healthy.split == 'train'
    assert healthy.metadata == dict(sex='M', age=58, view='PA')
    assert healthy.source == root / 'images' / '00000001_000.png'
    assert {c for c, v in sick.labels.items() if v} == {'Infiltration', 'Mass'}
    assert sick.split == 'test'


def test_nih14_boxes_have_their_class_and_corners(tmp_path):
    files = nih_files()
    files['BBox_List_2017.csv'] = (
        'Image Index,Finding Label,Bbox [x,y,w,h],,,\n'
        '00000002_000.png,Infiltrate,10.5,20,30,40,,,\n'
        '00000002_000.png,Mass,1,2,3,4,,,\n'
    )
    sick = by_name('nih14', write_files(tmp_path, files))['00000002_000.png']
    assert sick.boxes == [
        ('Infiltration', 10.5, 20, 40.5, 60),
        ('Mass', 1, 2, 4, 6),
    ]


@pytest.mark.parametrize('width, height', [(1024, 1024), (512, 256)])
def test_nih14_boxes_follow_the_size_of_the_image(tmp_path, width, height):
    files = nih_files()
    files['BBox_List_2017.csv'] = (
        'Image Index,Finding Label,Bbox [x,y,w,h],,,\n'
        '00000002_000.png,Mass,100,200,300,400,,,\n'
    )
    root = write_files(tmp_path, files)
    (root / 'images').mkdir()
    size = width, height
    Image.new('L', size).save(root / 'images' / '00000002_000.png')
    sick = by_name('nih14', root)['00000002_000.png']
    across, down = width / 1024, height / 1024
    assert sick.boxes == [
        ('Mass', 100 * across, 200 * down, 400 * across, 600 * down)
    ]


def test_nih14_counts_names_that_are_not_in_its_table(tmp_path):
    files = nih_files()
    files['test_list.txt'] += '\n<html>\n'
    files['BBox_List_2017.csv'] = (
        'Image Index,Finding Label,Bbox [x,y,w,h],,,\n'
        '00000009_000.png,Mass,1,2,3,4,,,\n'
    )
    _, notes = read_with_notes('nih14', write_files(tmp_path, files))
    assert notes[1:] == [
        'names of the lists that are not in Data_Entry_2017_v2020.csv: 1 '
        'skipped',
        'images with boxes that are not in the table and lists: 1 skipped',
    ]


def test_nih14_refuses_an_empty_list(tmp_path):
    root = write_files(tmp_path, nih_files() | {'test_list.txt': '\n'})
    with pytest.raises(UserError, match='test_list.txt: the file is empty'):
        read('nih14', root)


def test_nih14_refuses_an_unknown_finding(tmp_path):
    files = nih_files()
    name = 'Data_Entry_2017_v2020.csv'
    files[name] = files[name].replace('|Mass', '|Fracture')
    with pytest.raises(UserError, match='row 3: unknown finding "Fracture"'):
        read('nih14', write_files(tmp_path, files))


def test_nih14_images_may_lie_in_the_folders_of_kaggle(tmp_path):
    root = write_files(tmp_path, nih_files())
    first = root / 'images_001/images/00000001_000.png'
    second = root / 'images_012/images/00000002_000.png'
    for path in (first, second):
        path.parent.mkdir(parents=True)
        path.touch()
    images = by_name('nih14', root)
    assert images['00000001_000.png'].source == first
    assert images['00000002_000.png'].source == second
    second.unlink()
    missing = by_name('nih14', root)['00000002_000.png']
    assert missing.source == root / 'images/00000002_000.png'
