"""Patients of images, from tables, COCO files and names."""

import json

import pytest

from fx_mm.datasets.readers.patients import find_patients
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


def task(type='CsvLabelReader', **reader):
    return Task(
        'x', 'cls', ('a',), config=dict(reader=dict(reader, type=type))
    )


def test_nothing_known(tmp_path):
    file = tmp_path / 'test.csv'
    file.write_text('image,a\n1.png,0\n')
    assert find_patients(task(), str(file), ['1.png'], None) is None
    masks = task('MaskReader', suffix='-mask.png')
    assert find_patients(masks, str(tmp_path), ['1.png'], None) is None
    assert find_patients(task(), str(file), [], r'(\d)') is None


def test_from_a_column(tmp_path):
    file = tmp_path / 'test.csv'
    file.write_text('patient,name,a\np1,1.png,0\n,2.png,1\np1,3.png,1\n')
    found = find_patients(
        task(image_column='name'),
        str(file),
        ['1.png', '2.png', '3.png', '4.png'],
        None,
    )
    assert found == ['p1', 'image 2.png', 'p1', 'image 4.png']


def test_from_the_table_beside_a_list(tmp_path):
    (tmp_path / 'all.csv').write_text('image,patient,a\n1.png,p1,0\n')
    listed = tmp_path / 'test.txt'
    listed.write_text('1.png\n')
    found = find_patients(task(table='all.csv'), str(listed), ['1.png'], None)
    assert found == ['p1']


def test_from_a_coco_file(tmp_path):
    file = tmp_path / 'test.json'
    images = [
        dict(id=1, file_name='a.png', patient='7'),
        dict(id=2, file_name='b.png'),
    ]
    content = dict(images=images, annotations=[], categories=[])
    file.write_text(json.dumps(content))
    boxes = task('CocoReader')
    found = find_patients(boxes, str(file), ['a.png', 'b.png'], None)
    assert found == ['7', 'image b.png']


def test_from_the_name(tmp_path):
    file = tmp_path / 'list.txt'
    file.write_text('00001_000.png 0\n')
    ids = ['00001_000.png', '00001_001.png', 'odd.png']
    names = task('ListLabelReader')
    found = find_patients(names, str(file), ids, r'^(\d+)_')
    assert found == ['00001', '00001', 'image odd.png']
    with pytest.raises(UserError, match=r'datasets.x.patient is'):
        find_patients(names, str(file), ids, '(')
