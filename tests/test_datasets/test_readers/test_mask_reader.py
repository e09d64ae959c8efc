import os
from pathlib import Path

import pytest

from fx_mm.datasets.readers import MaskReader
from fx_mm.datasets.readers.masks import split_bit
from fx_mm.utils.errors import UserError


@pytest.fixture
def read(tmp_path, write_images, make_task):
    """Read a CSV beside images, and masks that fill one file a class."""

    def run(text, classes=('Lung', 'Heart'), **kwargs):
        images = write_images('a.png', 'b.png')
        write_images('../masks/1.png', '../masks/2.png')
        path = tmp_path / 'masks.csv'
        path.write_text(text)
        return MaskReader(**kwargs)(
            str(path), images, make_task('seg', classes)
        )

    return run


def refuse(read, text, *parts, **kwargs):
    with pytest.raises(UserError) as info:
        read(text, **kwargs)
    for part in parts:
        assert part in str(info.value), str(info.value)


def test_paths_are_relative_to_the_csv_and_go_by_column_name(read, tmp_path):
    first, second = read(
        'Heart,image,Lung\nmasks/1.png#3,a.png,masks/1.png\n,b.png,\n'
    )
    mask = str(tmp_path / 'masks/1.png')
    assert first['mask_paths'] == {'Lung': mask, 'Heart': f'{mask}#3'}
    assert list(first['mask_paths']) == ['Lung', 'Heart']
    assert second['mask_paths'] == {'Lung': None, 'Heart': None}
    assert second['img_id'] == 'b.png'


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('', ['masks.csv', 'empty']),
        ('image,Lung,Heart\n', ['masks.csv', 'no images']),
        ('image,Lung\na.png,\n', ['no column "Heart"', '"image", "Lung"']),
        ('file,Lung,Heart\na.png,,\n', ['no column "image"']),
        (
            'image,Lung,Heart\na.png,,masks/9.png\n',
            ['row 2, column "Heart"', 'masks/9.png', 'does not exist'],
        ),
        (
            'image,Lung,Heart\na.png,,masks/1.png#16\n',
            ['row 2, column "Heart"', 'bit 16'],
        ),
        ('image,Lung,Heart\nz.png,,\n', ['row 2', 'z.png']),
        ('image,Lung,Heart\na.png,,\na.png,,\n', ['row 3', 'row 2']),
    ],
)
def test_bad_csv_is_named(read, text, parts):
    refuse(read, text, *parts)


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('m/1.png', ('m/1.png', None)),
        ('m/1.png#3', ('m/1.png', 3)),
        ('m#2/1.png', ('m#2/1.png', None)),
        ('m/#1.png#12', ('m/#1.png', 12)),
    ],
)
def test_split_bit(path, expected):
    assert split_bit(path) == expected


def test_suffix(write_images, make_task):
    folder = write_images('1.png', '2.png', '1-mask.png', '2-mask.png')
    Path(folder, 'notes.txt').write_text('not an image')
    records = MaskReader(suffix='-mask.png')(
        folder, folder, make_task('seg', ('Lung',))
    )
    assert [record['img_id'] for record in records] == ['1.png', '2.png']
    assert records[1]['mask_paths'] == {
        'Lung': os.path.join(folder, '2-mask.png')
    }


def test_suffixes_of_several_classes(write_images, make_task):
    images = write_images('1.png')
    masks = write_images('../masks/1_r.png', '../masks/1_l.png')
    masks = masks.replace('images', 'masks')
    reader = MaskReader(suffix=dict(Left='_l.png', Right='_r.png'))
    (record,) = reader(masks, images, make_task('seg', ('Right', 'Left')))
    assert list(record['mask_paths']) == ['Right', 'Left']
    assert record['mask_paths']['Right'].endswith('masks/1_r.png')
    with pytest.raises(UserError, match='Left, Right.*Right, Heart'):
        reader(masks, images, make_task('seg', ('Right', 'Heart')))


def test_suffix_needs_a_mask_for_every_image(write_images, make_task):
    folder = write_images('1.png', '2.png', '1-mask.png')
    task = make_task('seg', ('Lung',))
    with pytest.raises(UserError, match='2.png.*2-mask.png does not exist'):
        MaskReader(suffix='-mask.png')(folder, folder, task)
    (record,) = MaskReader(suffix='-mask.png', img_ids=['1.png'])(
        folder, folder, task
    )
    assert record['img_id'] == '1.png'


def test_missing_and_empty_folders_are_named(tmp_path, make_task):
    task = make_task('seg', ('Lung',))
    reader = MaskReader(suffix='-mask.png')
    missing = str(tmp_path / 'none')
    with pytest.raises(UserError, match=f'{missing}: .*toy/seg'):
        reader(missing, missing, task)
    with pytest.raises(UserError, match='no images'):
        reader(str(tmp_path), str(tmp_path), task)
