"""Parts of a split: who is in which, and that it stays so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.preparation import Entry, Release
from fx_mm.preparation.splits import (
    draw_part,
    patient_number,
    shared_patients,
    split_entries,
)
from fx_mm.utils.errors import UserError

PARTS = ('train', 'val', 'test')
SHARES = dict(train=0.6, val=0.15, test=0.25)


def entries_of(patients, split=None):
    return [
        Entry(f'{number}.png', None, patient, split)
        for number, patient in enumerate(patients)
    ]


def drawn(entries, parts=PARTS, seed=0, lists=None, **facts):
    release = Release('toy', None, **facts)
    return split_entries(entries, release, parts, seed, lists)


PATIENTS = st.lists(st.text(max_size=5), max_size=40)


@given(PATIENTS, PATIENTS, st.integers(0, 9))
def test_patients_stay_together_and_where_they_are(first, further, seed):
    entries = entries_of(first + further)
    all_ = drawn(entries, seed=seed, shares=SHARES)
    few = drawn(entries[: len(first)], seed=seed, shares=SHARES)
    assert all_['cls'][: len(first)] == few['cls']
    assert not shared_patients(entries, all_['cls'])
    assert all_['cls'] == all_['loc'] == all_['seg']


@given(PATIENTS, PATIENTS, st.integers(0, 9))
def test_hold_out_is_by_patient_and_stays(first, further, seed):
    patients = first + further
    entries = entries_of(patients, 'train')
    all_ = drawn(entries, seed=seed, hold_out=0.3)['cls']
    few = drawn(entries[: len(first)], seed=seed, hold_out=0.3)['cls']
    assert all_[: len(first)] == few
    assert not shared_patients(entries, all_)
    assert set(all_) <= {'train', 'val'}


def test_shares_and_seeds():
    entries = entries_of(map(str, range(4000)))
    one = drawn(entries, shares=SHARES)['cls']
    for part, share in SHARES.items():
        assert one.count(part) / 4000 == pytest.approx(share, abs=0.03)
    other = drawn(entries, seed=1, shares=SHARES)['cls']
    same = sum(a == b for a, b in zip(one, other)) / 4000
    assert same == pytest.approx(0.6**2 + 0.15**2 + 0.25**2, abs=0.04)
    assert (
        patient_number('a', 0)
        == patient_number('a', 0)
        != (patient_number('a', 1))
    )


def test_draw_part_takes_shares_of_any_sum():
    assert draw_part(dict(train=7, test=3), 0.69) == 'train'
    assert draw_part(dict(train=7, test=3), 0.71) == 'test'
    assert draw_part(dict(val=1), 0.999) == 'val'


def test_official_parts_stay():
    entries = entries_of(map(str, range(300)), 'train')
    entries += entries_of(map(str, range(300, 400)), 'test')
    split = drawn(entries, hold_out=0.2)['seg']
    assert split[300:] == ['test'] * 100
    assert 30 < split.count('val') < 90
    # an official validation part, or none asked for: nothing is held out
    assert drawn(entries, ('train', 'test'), hold_out=0.2)['seg'] == [
        entry.split for entry in entries
    ]
    entries[5].split = 'val'
    assert drawn(entries, hold_out=0.2)['seg'].count('val') == 1


def test_images_without_a_part_follow_their_patient():
    entries = entries_of(['a', 'a', 'b', 'b', 'b'])
    entries[0].split, entries[2].split, entries[3].split = (
        'test',
        'train',
        'test',
    )
    # patient b is shared officially: the rest stays out of training
    split = drawn(entries, ('train', 'test'), shares=SHARES)['cls']
    assert split == ['test', 'test', 'train', 'test', 'test']
    assert shared_patients(entries, split) == ['b']


def test_boxes_with_shares_of_their_own():
    entries = entries_of(map(str, range(500)), 'test')
    split = drawn(entries, box_shares=SHARES)
    assert set(split['cls']) == {'test'}
    assert set(split['loc']) == set(PARTS)


def test_no_part_and_no_shares():
    with pytest.raises(UserError, match='Image "0.png" has no part, and rel'):
        drawn(entries_of('a'))
    with pytest.raises(UserError, match='in part "dev"; parts are train, val'):
        drawn(entries_of('a', 'dev'))


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def named(*names):
    return [Entry(name, None, name) for name in names]


def test_published_lists(write):
    entries = named(
        'images/00000001_000.png', '1.2.276.0.7230010.png', 'CHNCXR_1_0.png',
        'JPCLN001.png', 'x y.png', 'left.png',
    )  # fmt: skip
    train = write(
        'train.txt', 'Image,Label\n00000001_000.png 0 1 0\n\nabsent.png 1\n'
    )
    val = write('val.txt', 'train_jpeg/1.2.276.0.7230010.dcm.jpeg 1\n')
    test = write('test.csv', '"CHNCXR_1_0.png",1\nJPCLN001.IMG.png\n')
    lists = dict(train=train, val=val, test=test)
    split = drawn(entries, lists=lists)['cls']
    assert split == ['train', 'val', 'test', 'test', None, None]


def test_names_with_blanks_are_found_by_their_cell(write):
    entries = named('Röntgen 1.png', 'Röntgen 2.png', 'x.png')
    test = write('test.csv', 'Röntgen 2.png,0,1\nx.png 1 0\n')
    assert drawn(entries, lists=dict(test=test))['cls'] == [
        None, 'test', 'test',
    ]  # fmt: skip


def test_rows_of_a_list_that_fit_no_image_are_counted(write, said):
    path = write('train.txt', 'Image,Label\n1.png,1\n\n9.png,1\n')
    drawn(named('1.png'), lists=dict(train=path))
    assert said == [
        'Left out: 2 rows of train.txt that name no image of the release, '
        'such as "Image,Label".'
    ]


def test_a_validation_part_is_held_out_of_a_list(write):
    names = [f'{i}.png' for i in range(200)]
    entries = named(*names)
    lists = dict(train=write('train.txt', '\n'.join(names[:150])))
    split = drawn(entries, shares=SHARES, lists=lists)['cls']
    assert split[150:] == [None] * 50
    assert 8 < split[:150].count('val') < 45
    assert split[:150].count('train') + split[:150].count('val') == 150


def test_lists_with_folders(write):
    entries = named(
        'CheXpert-v1.0/train/p1/s1/view1.jpg',
        'CheXpert-v1.0/train/p2/s1/view1.jpg',
    )
    row = 'CheXpert-v1.0-small/train/p2/s1/view1.jpg,Male'
    split = drawn(entries, lists=dict(test=write('a.csv', row)))['cls']
    assert split == [None, 'test']
    with pytest.raises(UserError, match=r'b.csv, row 1: "s1/view1.jpg" fits'):
        drawn(entries, lists=dict(test=write('b.csv', 's1/view1.jpg')))


def test_wrong_lists(write):
    entries = named('1.png', '2.png')
    one, two = write('one.txt', '1.png'), write('two.txt', '2.png\n1.png')
    with pytest.raises(
        UserError, match='two.txt, row 2: image "1.png" is already in the list'
    ):
        drawn(entries, lists=dict(train=one, test=two))
    with pytest.raises(UserError, match='names none of the 2 images'):
        drawn(entries, lists=dict(train=write('none.txt', 'a\nb')))
    with pytest.raises(UserError, match='absent.txt: No such file'):
        drawn(entries, lists=dict(train='absent.txt'))
