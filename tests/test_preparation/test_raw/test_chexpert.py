"""CheXpert: paths and labels."""

import pytest
from raw_helpers import read, read_with_notes, write_files

from fx_mm.preparation.raw.chexpert import CLASSES
from fx_mm.utils.errors import UserError

CHEXPERT = ','.join(CLASSES)


BLANK = ',' * 13


def chexpert_files(folder='CheXpert-v1.0'):
    facts = 'Path,Sex,Age,Frontal/Lateral,AP/PA,'
    return {
        f'{folder}/train.csv': f'{facts}{CHEXPERT}\n'
        f'{folder}/train/patient00001/study1/view1_frontal.jpg,Female,68,'
        f'Frontal,AP,1.0,,0.0,-1.0{",":,>10}\n'
        f'{folder}/train/patient00002/study2/view2_lateral.jpg,Unknown,0,'
        f'Lateral,,{BLANK}\n',
        f'{folder}/valid.csv': f'{facts}{CHEXPERT}\n'
        f'{folder}/valid/patient64541/study1/view1_frontal.jpg,Male,73,'
        f'Frontal,PA,{",".join(["0.0"] * 14)}\n',
    }


@pytest.mark.parametrize('folder', ['CheXpert-v1.0', 'CheXpert-v1.0-small'])
def test_chexpert_keeps_blank_and_uncertain_labels(tmp_path, folder):
    root = write_files(tmp_path, chexpert_files(folder))
    images, notes = read_with_notes('chexpert', root)
    first, second, valid = images
    assert second.labels == dict.fromkeys(CLASSES)
    assert second.metadata == dict(sex=None, age=0, view='Lateral')
    assert (
        first.name == f'{folder}/train/patient00001/study1/view1_frontal.jpg'
    )
    assert first.source == root / first.name
    assert first.patient == 'patient00001' and first.split == 'train'
    assert list(first.labels.values())[:5] == [1, None, 0, -1, None]
    assert first.metadata == dict(sex='F', age=68, view='AP')
    assert valid.split == 'val' and set(valid.labels.values()) == {0}
    assert notes == [
        'test images, since there is no CheXpert_test_official.csv: 668 '
        'skipped'
    ]


@pytest.mark.parametrize(
    ('table', 'path'),
    [
        ('CheXpert_test_official.csv', 'CheXpert-v1.0/test'),
        ('CheXpert-v1.0/test_labels.csv', 'test'),
    ],
)
def test_chexpert_has_a_test_split_under_several_names(tmp_path, table, path):
    files = chexpert_files()
    files[table] = (
        f'Path,{CHEXPERT}\n{path}/patient64741/study1/view1_frontal.jpg,'
        f'{",".join(["1.0"] * 14)}\n'
    )
    test = read('chexpert', write_files(tmp_path, files))[-1]
    assert test.split == 'test' and test.patient == 'patient64741'
    assert test.name.startswith('CheXpert-v1.0/test/patient64741/')
    assert test.metadata == dict(sex=None, age=None, view=None)


def test_chexpert_small_may_have_a_test_split_of_its_own(tmp_path):
    folder = 'CheXpert-v1.0-small'
    files = chexpert_files(folder)
    name = 'test/patient64741/study1/view1_frontal.jpg'
    files[f'{folder}/{name}'] = ''
    files['groundtruth.csv'] = (
        f'Path,{CHEXPERT}\n{name},{",".join(["1.0"] * 14)}\n'
    )
    test = read('chexpert', write_files(tmp_path, files))[-1]
    assert test.source.is_file() and test.name == f'{folder}/{name}'


def test_chexpert_refuses_other_tables_by_row(tmp_path):
    files = chexpert_files()
    train = files['CheXpert-v1.0/train.csv']
    broken = train.replace('patient00002', 'p2')
    root = write_files(tmp_path, {'CheXpert-v1.0/train.csv': broken})
    with pytest.raises(
        UserError, match='has no CheXpert-v1.0/valid.csv; is i'
    ):
        read('chexpert', root)
    write_files(root, {'CheXpert-v1.0/valid.csv': train})
    with pytest.raises(UserError, match='train.csv, row 3: the path ".*p2/'):
        read('chexpert', root)
    files['CheXpert-v1.0/train.csv'] = train.replace('-1.0', '2')
    with pytest.raises(UserError, match='2, column "Lung Opacity": label "2"'):
        read('chexpert', write_files(root, files))
