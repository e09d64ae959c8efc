"""TBX11K: COCO files."""

import pytest
from raw_helpers import by_name, read, write_files

from fx_mm.utils.errors import UserError


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
    root = write_files(tmp_path, files)
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
        read('tbx11k', write_files(tmp_path, files))
