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
    assert test.metadata == dict(sex=None, age=None, view='Frontal')


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


def test_chexpert_labels_of_studies_are_those_of_their_images(tmp_path):
    files = chexpert_files()
    places = [f'CheXpert-v1.0/test/patient6474{n}/study1' for n in (1, 2, 3)]
    labels = ['1' + ',0' * 13, '0' * 1 + ',1' * 13, ',' * 13]
    rows = '\n'.join(map(','.join, zip(places, labels)))
    files['groundtruth.csv'] = f'Study,{CHEXPERT}\n{rows}\n'
    root = write_files(tmp_path, files)
    # without images there is no test split, and the others are read
    images, notes = read_with_notes('chexpert', root)
    assert [image.split for image in images] == ['train', 'train', 'val']
    assert notes == [
        'studies of groundtruth.csv, since there is no folder of their '
        'images, such as CheXpert-v1.0/test/: 3 skipped'
    ]
    views = ('view1_frontal', 'view2_lateral', 'view3_frontal')
    names = [f'{places[0]}/{view}.jpg' for view in views]
    names.append(f'{places[1]}/view1_frontal.jpg')
    write_files(root, dict.fromkeys([*names, f'{places[0]}/._x.jpg'], ''))
    images, notes = read_with_notes('chexpert', root)
    tests = [image for image in images if image.split == 'test']
    # of a study whose folder is missing, its first image is
    names.append(f'{places[2]}/view1_frontal.jpg')
    assert [image.name for image in tests] == names and not notes
    assert [image.source for image in tests] == [root / n for n in names]
    assert [i.patient for i in tests][2:4] == ['patient64741', 'patient64742']
    assert [i.metadata['view'] for i in tests[:3]] == [
        'Frontal', 'Lateral', 'Frontal'
    ]  # fmt: skip
    found = [list(image.labels.values()) for image in tests]
    assert found[0] == found[1] == found[2] == [1] + [0] * 13
    assert found[3] == [0] + [1] * 13 and found[4] == [None] * 14


@pytest.mark.parametrize('folder', ['.', 'CheXpert-v1.0-small'])
def test_chexpert_is_found_in_folders_of_other_names(tmp_path, folder):
    """Kaggle's tables name a folder that its archive has not."""
    files = {
        name.replace('CheXpert-v1.0', folder): text.replace(
            'v1.0/', 'v1.0-small/' if folder == '.' else 'v1.0/'
        )
        for name, text in chexpert_files().items()
    }
    files['groundtruth.csv'] = (
        f'Study,{CHEXPERT}\nCheXpert-v1.0/test/patient64741/study1,{BLANK}\n'
    )
    parts = (
        'train/patient00001/study1/view1_frontal.jpg',
        'train/patient00002/study2/view2_lateral.jpg',
        'valid/patient64541/study1/view1_frontal.jpg',
        'test/patient64741/study1/view1_frontal.jpg',
    )
    there = '' if folder == '.' else f'{folder}/'
    files |= {f'{there}{part}': '' for part in parts}
    images = read('chexpert', write_files(tmp_path, files))
    assert [image.name for image in images] == [there + part for part in parts]
    assert all(image.source.is_file() for image in images)
