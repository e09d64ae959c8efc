import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets.records import Ragged, Records

RECORDS = [
    dict(
        img_id='ä.png',
        boxes=np.zeros((0, 4), np.float32),
        gt_score=np.array([0, np.nan], np.float32),
        mask_paths={'A': None, 'B': 'b#1'},
    ),
    dict(
        img_id='',
        boxes=np.arange(8, dtype=np.float32).reshape(2, 4),
        gt_score=np.array([1, 0.5], np.float32),
        mask_paths={'A': 'a', 'B': None},
    ),
    dict(
        img_id='c',
        boxes=np.ones((1, 4), np.float32),
        gt_score=np.array([0, 1], np.float32),
        mask_paths={'A': None, 'B': None},
    ),
]


def same(one, two):
    assert list(one) == list(two)
    for key, value in two.items():
        if isinstance(value, np.ndarray):
            assert one[key].dtype == value.dtype
            np.testing.assert_array_equal(one[key], value)
        else:
            assert one[key] == value


@pytest.mark.parametrize('copy', [False, True])
def test_gives_back_what_it_got(copy):
    records = Records(RECORDS)
    if copy:
        records = pickle.loads(pickle.dumps(records))
    assert len(records) == 3
    for got, expected in zip(records, RECORDS):
        same(got, expected)
    same(records[-1], RECORDS[-1])
    assert [r['img_id'] for r in records[1:]] == ['', 'c']
    np.testing.assert_array_equal(records.column('boxes').lengths, [0, 2, 1])


def test_columns_are_as_good_as_dicts():
    scores = np.array([[0, np.nan], [1, 0.5]], np.float32)
    records = Records.of_columns(
        img_id=['ä', None],
        gt_score=scores,
        boxes=Ragged(np.ones((3, 4)), np.array([0, 3])),
        mask_paths={'A': [None, 'a'], 'B': ['b', None]},
    )
    assert len(records) == 2
    one, two = pickle.loads(pickle.dumps(records))
    assert (one['img_id'], two['img_id']) == ('ä', None)
    assert two['mask_paths'] == {'A': 'a', 'B': None}
    assert one['boxes'].shape == (0, 4)
    assert records.column('boxes').lengths.tolist() == [0, 3]
    np.testing.assert_array_equal(two['gt_score'], scores[1])
    two['gt_score'][:] = 9
    records[1]['gt_score'][:] = 9
    assert records[1]['gt_score'].tolist() == [1, 0.5]
    assert len(Records.of_columns()) == 0


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="'a': 1, 'b': 2"):
        Records.of_columns(a=['1'], b=np.zeros((2, 3)))


def test_writing_to_a_record_does_not_change_the_store():
    records = Records(RECORDS)
    records[1]['boxes'][:] = -1
    records[1]['mask_paths']['A'] = 'x'
    same(records[1], RECORDS[1])


def test_index_out_of_range():
    for index in (3, -4):
        with pytest.raises(IndexError):
            Records(RECORDS)[index]
    assert len(Records([])) == 0


def test_records_with_other_keys_are_refused():
    with pytest.raises(ValueError, match='Record 1 has'):
        Records([dict(a='1'), dict(b='1')])


def test_is_compact():
    names = [f'images/{i:08d}.png' for i in range(2000)]
    score = np.zeros((2000, 14), np.float32)
    rows = [dict(img_path=n, gt_score=s) for n, s in zip(names, score)]
    size = len(pickle.dumps(Records(rows)))
    assert size < 2000 * (len(names[0]) + 14 * 4 + 40)


@given(st.lists(st.text(), min_size=1))
def test_any_text(texts):
    records = Records([dict(t=text) for text in texts])
    assert [record['t'] for record in records] == texts
