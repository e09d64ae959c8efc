"""Images alone: from lists, tables, COCO files and folders."""

import gzip
import json

import pytest

from fx_mm.datasets import TaskDataset
from fx_mm.datasets.readers import ImageReader
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

NAMES = ('a.png', 'b.png', 'c.png')


def task_of(folder, **splits):
    return Task(
        'toy', 'ssl', ('pixels',), f'{folder}/', 'images/',
        dict(splits=splits, reader=dict(type='ImageReader')),
    )  # fmt: skip


@pytest.fixture
def read(tmp_path, write_images):
    """Read a split of a folder with three images."""
    images = write_images(*NAMES)

    def run(split='train', splits=None, **reader):
        task = task_of(tmp_path, **(splits or {'train': split}))
        found = ImageReader(data_root=f'{tmp_path}/', **reader)
        file = task.ann_file('train')
        records = found(file, images, task)
        ids = [record['img_id'] for record in records]
        assert list(found.names(file, task)) == ids
        return ids

    return run


def test_an_empty_folder_is_refused(read, tmp_path):
    (tmp_path / 'none').mkdir()
    with pytest.raises(UserError, match='none: no image in this folder'):
        read('none')


@pytest.mark.parametrize('text', ['', '\n \n'])
def test_an_empty_list_is_refused(read, tmp_path, text):
    (tmp_path / 'train.txt').write_text(text)
    with pytest.raises(UserError, match='the file is empty'):
        read('train.txt')


def test_a_list(read, tmp_path):
    (tmp_path / 'train.txt').write_text('c.png\n\n a.png \n')
    assert read('train.txt') == ['c.png', 'a.png']


@pytest.mark.parametrize('ending', ['.csv', '.csv.gz'])
def test_a_table_of_another_task(read, tmp_path, ending):
    text = 'sex,file,Nodule\nF,b.png,\nM,a.png,oops\n'
    path = tmp_path / f'train{ending}'
    data = text.encode()
    path.write_bytes(gzip.compress(data) if 'gz' in ending else data)
    assert read(path.name, image_column='file') == ['b.png', 'a.png']
    with pytest.raises(UserError, match='no column "image"'):
        read(path.name, image_column='image')


def test_a_coco_file_and_its_patients(tmp_path, read):
    images = [
        dict(id=i, file_name=name, width=8, height=8, patient=f'p{i}')
        for i, name in enumerate(NAMES[:2])
    ]
    content = dict(images=images, annotations=[], categories=[])
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(content))
    assert read('train.json') == ['a.png', 'b.png']
    task = task_of(tmp_path, train='train.json')
    patients = ImageReader().patients(str(path), task)
    assert patients == {'a.png': 'p0', 'b.png': 'p1'}


def test_a_folder_without_what_is_held_out(read, tmp_path):
    assert read('images') == list(NAMES)
    (tmp_path / 'val.csv').write_text('image,x\nb.png,1\n')
    (tmp_path / 'test.txt').write_text('c.png\n')
    splits = dict(train='images', val='val.csv')
    assert read(splits=splits) == ['a.png', 'c.png']
    assert read(splits=splits, leave_out='test.txt') == ['a.png']
    (tmp_path / 'rest.txt').write_text('a.png')
    with pytest.raises(UserError, match='lists no images'):
        read(splits=splits, leave_out=['test.txt', 'rest.txt'])


def test_folders_below_and_suffixes(read, tmp_path):
    below = tmp_path / 'images/below'
    below.mkdir()
    (tmp_path / 'images/a.png').rename(below / 'a.png')
    assert read('images') == ['b.png', 'below/a.png', 'c.png']
    assert read('images/below') == ['below/a.png']
    (tmp_path / 'val.txt').write_text('below/a\n')
    splits = dict(train='images', val='val.txt')
    assert read(splits=splits, img_suffix='.png') == ['b', 'c']


def test_two_folders_are_two_splits(read, tmp_path):
    below = tmp_path / 'images/held_out'
    below.mkdir()
    (tmp_path / 'images/a.png').rename(below / 'a.png')
    splits = dict(train='images', test='images/held_out')
    assert read(splits=splits) == ['b.png', 'c.png']


def test_a_missing_split_says_what_to_check(read):
    with pytest.raises(UserError, match='train.csv.*annotation file of task'):
        read('train.csv')


def test_a_name_that_leads_out_is_refused(read, tmp_path):
    (tmp_path / 'train.txt').write_text('../../a.png\n')
    with pytest.raises(UserError, match='leads out of the data folder'):
        read('train.txt')


def test_a_corrupt_image_is_replaced_in_training_alone(tmp_path, write_images):
    write_images(*NAMES)
    (tmp_path / 'images/b.png').write_bytes(b'no image')
    task = task_of(tmp_path, train='images', val='images')
    steps = [dict(type='LoadXray'), dict(type='PackXray')]
    dataset = TaskDataset(task, 'train', pipeline=steps)
    sample = dataset.sample(1, 0)['data_samples']
    assert sample.img_id in 'a.png c.png' and 'b.png' in sample.replaced
    strict = TaskDataset(task, 'val', pipeline=steps)
    with pytest.raises(Exception, match='b.png'):
        strict.sample(1, 0)
