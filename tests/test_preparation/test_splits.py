"""Splits: which patient is in which, and that it stays so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets.readers.patient_ids import patient_key
from fx_mm.preparation import RawDataset, RawImage
from fx_mm.preparation.skipped import Skipped
from fx_mm.preparation.splits import (
    draw_split,
    patient_number,
    shared_patients,
    split_images,
)
from fx_mm.utils.errors import UserError

SPLITS = ('train', 'val', 'test')
RATIOS = dict(train=0.6, val=0.15, test=0.25)


def images_of(patients, split=None):
    return [
        RawImage(f'{number}.png', None, patient, split)
        for number, patient in enumerate(patients)
    ]


def drawn(images, wanted=SPLITS, seed=0, lists=None, skipped=None, **fields):
    raw = RawDataset('toy', None, **fields)
    return split_images(images, raw, wanted, skipped or Skipped(), seed, lists)


# each patient is written in one way
PATIENTS = st.lists(st.text(max_size=5).map(patient_key), max_size=40)


@given(PATIENTS, PATIENTS, st.integers(0, 9))
def test_patients_stay_together_and_where_they_are(first, further, seed):
    images = images_of(first + further)
    all_ = drawn(images, seed=seed, split_ratios=RATIOS)
    few = drawn(images[: len(first)], seed=seed, split_ratios=RATIOS)
    assert all_['labels'][: len(first)] == few['labels']
    assert not shared_patients(images, all_['labels'])
    assert all_['labels'] == all_['boxes'] == all_['masks']


@given(PATIENTS, PATIENTS, st.integers(0, 9))
def test_validation_is_by_patient_and_stays(first, further, seed):
    patients = first + further
    images = images_of(patients, 'train')
    all_ = drawn(images, seed=seed, val_ratio=0.3)['labels']
    few = drawn(images[: len(first)], seed=seed, val_ratio=0.3)['labels']
    assert all_[: len(first)] == few
    assert not shared_patients(images, all_)
    assert set(all_) <= {'train', 'val'}


def test_a_patient_who_is_written_in_several_ways_stays_in_one_split():
    ways = ('{}', '{}.0', '{:04d}', 'P{}', 'patient_{:05d}')
    images = images_of(way.format(n) for n in range(60) for way in ways)
    splits = drawn(images, split_ratios=RATIOS)['labels']
    groups = [set(splits[n : n + len(ways)]) for n in range(0, 300, len(ways))]
    assert all(len(group) == 1 for group in groups)
    assert set().union(*groups) == set(SPLITS)
    assert not shared_patients(images, splits)
    assert shared_patients(images_of(['7', 'p07']), ['train', 'test']) == ['7']


def test_ratios_and_seeds():
    images = images_of(map(str, range(4000)))
    one = drawn(images, split_ratios=RATIOS)['labels']
    for split, ratio in RATIOS.items():
        assert one.count(split) / 4000 == pytest.approx(ratio, abs=0.03)
    other = drawn(images, seed=1, split_ratios=RATIOS)['labels']
    same = sum(a == b for a, b in zip(one, other)) / 4000
    assert same == pytest.approx(0.6**2 + 0.15**2 + 0.25**2, abs=0.04)
    assert (
        patient_number('a', 0)
        == patient_number('a', 0)
        != (patient_number('a', 1))
    )


def test_draw_split_takes_ratios_of_any_sum():
    assert draw_split(dict(train=7, test=3), 0.69) == 'train'
    assert draw_split(dict(train=7, test=3), 0.71) == 'test'
    assert draw_split(dict(val=1), 0.999) == 'val'


def test_official_splits_stay():
    images = images_of(map(str, range(300)), 'train')
    images += images_of(map(str, range(300, 400)), 'test')
    split = drawn(images, val_ratio=0.2)['masks']
    assert split[300:] == ['test'] * 100
    assert 30 < split.count('val') < 90
    # an official validation split, or none asked for: nothing is held out
    assert drawn(images, ('train', 'test'), val_ratio=0.2)['masks'] == [
        image.split for image in images
    ]
    images[5].split = 'val'
    assert drawn(images, val_ratio=0.2)['masks'].count('val') == 1


def test_images_without_a_split_follow_their_patient():
    images = images_of(['a', 'a', 'b', 'b', 'b'])
    images[0].split, images[2].split, images[3].split = (
        'test',
        'train',
        'test',
    )
    # patient b is shared officially: the rest stays out of training
    split = drawn(images, ('train', 'test'), split_ratios=RATIOS)['labels']
    assert split == ['test', 'test', 'train', 'test', 'test']
    assert shared_patients(images, split) == ['b']


def test_boxes_with_ratios_of_their_own():
    images = images_of(map(str, range(500)), 'test')
    split = drawn(images, box_split_ratios=RATIOS)
    assert set(split['labels']) == {'test'}
    assert set(split['boxes']) == set(SPLITS)


def test_no_split_and_no_ratios():
    with pytest.raises(UserError, match='Image "0.png" has no split, and ra'):
        drawn(images_of('a'))
    with pytest.raises(UserError, match='in split "dev"; splits are train, v'):
        drawn(images_of('a', 'dev'))


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def named(*names):
    return [RawImage(name, None, name) for name in names]


def test_published_lists(write):
    images = named(
        'images/00000001_000.png', '1.2.276.0.7230010.png', 'CHNCXR_1_0.png',
        'JPCLN001.png', 'x y.png', 'left.png',
    )  # fmt: skip
    train = write(
        'train.txt', 'Image,Label\n00000001_000.png 0 1 0\n\nabsent.png 1\n'
    )
    val = write('val.txt', 'train_jpeg/1.2.276.0.7230010.dcm.jpeg 1\n')
    test = write('test.csv', '"CHNCXR_1_0.png",1\nJPCLN001.IMG.png\n')
    lists = dict(train=train, val=val, test=test)
    split = drawn(images, lists=lists)['labels']
    assert split == ['train', 'val', 'test', 'test', None, None]


def test_names_with_blanks_are_found_by_their_cell(write):
    images = named('Röntgen 1.png', 'Röntgen 2.png', 'x.png')
    test = write('test.csv', 'Röntgen 2.png,0,1\nx.png 1 0\n')
    assert drawn(images, lists=dict(test=test))['labels'] == [
        None, 'test', 'test',
    ]  # fmt: skip


def test_rows_of_a_list_that_fit_no_image_are_counted(write):
    skipped = Skipped()
    path = write('train.txt', 'Image,Label\n1.png,1\n\n9.png,1\n')
    drawn(named('1.png'), lists=dict(train=path), skipped=skipped)
    assert skipped.notes == [
        'rows of train.txt that name no image, such as "Image,Label": 2 '
        'skipped'
    ]


def test_validation_is_held_out_of_a_list(write):
    names = [f'{i}.png' for i in range(200)]
    images = named(*names)
    lists = dict(train=write('train.txt', '\n'.join(names[:150])))
    split = drawn(images, split_ratios=RATIOS, lists=lists)['labels']
    assert split[150:] == [None] * 50
    assert 8 < split[:150].count('val') < 45
    assert split[:150].count('train') + split[:150].count('val') == 150


def test_lists_with_folders(write):
    images = named(
        'CheXpert-v1.0/train/p1/s1/view1.jpg',
        'CheXpert-v1.0/train/p2/s1/view1.jpg',
    )
    row = 'CheXpert-v1.0-small/train/p2/s1/view1.jpg,Male'
    split = drawn(images, lists=dict(test=write('a.csv', row)))['labels']
    assert split == [None, 'test']
    with pytest.raises(UserError, match=r'b.csv, row 1: "s1/view1.jpg" fits'):
        drawn(images, lists=dict(test=write('b.csv', 's1/view1.jpg')))


def test_wrong_lists(write):
    images = named('1.png', '2.png')
    one, two = write('one.txt', '1.png'), write('two.txt', '2.png\n1.png')
    with pytest.raises(
        UserError, match='two.txt, row 2: image "1.png" is already in the list'
    ):
        drawn(images, lists=dict(train=one, test=two))
    with pytest.raises(UserError, match='names none of the 2 images'):
        drawn(images, lists=dict(train=write('none.txt', 'a\nb')))
    with pytest.raises(UserError, match='absent.txt: No such file'):
        drawn(images, lists=dict(train='absent.txt'))
