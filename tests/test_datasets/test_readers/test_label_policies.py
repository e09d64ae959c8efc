"""What -1 and blank stand for, by class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets.readers import CsvLabelReader, ListLabelReader
from fx_mm.datasets.readers.labels import draw_scores
from fx_mm.utils.errors import UserError

NAN = np.nan
TEXT = 'file,A,B\na.png,-1.0,\nb.png,1,-1\nc.png,nan,0\n'


def test_by_default_blank_is_unknown_and_uncertain_refused(
    read_labels, scores
):
    records = read_labels('file,A,B\na.png,,\nb.png,nan, \n')
    assert np.isnan(scores(records)).all()
    assert 'score_range' not in records[0]
    with pytest.raises(UserError, match='row 2, class "A".*"uncertain"'):
        read_labels(TEXT)


@pytest.mark.parametrize(
    ('uncertain', 'blank', 'expected'),
    [
        ('ones', 'ignore', [[1, NAN], [1, 1], [NAN, 0]]),
        ('zeros', 'zeros', [[0, 0], [1, 0], [0, 0]]),
        ('ignore', 'ones', [[NAN, 1], [1, NAN], [1, 0]]),
        (NAN, 0, [[NAN, 0], [1, NAN], [0, 0]]),
        (
            dict(default='ones', B='zeros'),
            dict(A='zeros'),
            [[1, NAN], [1, 0], [0, 0]],
        ),
        (dict(A=1, B=0), dict(default=1.0), [[1, 1], [1, 0], [1, 0]]),
    ],
)
@pytest.mark.parametrize('listed', [False, True])
def test_policies(read_labels, scores, uncertain, blank, expected, listed):
    kind = ListLabelReader if listed else CsvLabelReader
    text = TEXT.split('\n', 1)[1] if listed else TEXT
    reader = kind(uncertain=uncertain, blank=blank)
    records = read_labels(text, reader)
    np.testing.assert_allclose(scores(records), expected)
    assert 'score_range' not in records[0]


def test_a_class_without_policy_still_refuses_uncertain(read_labels):
    reader = CsvLabelReader(uncertain=dict(A='ones'))
    with pytest.raises(UserError, match='row 3, class "B"'):
        read_labels(TEXT, reader)


def test_findings_column_takes_the_blank_policy(read_labels, scores):
    reader = CsvLabelReader(findings_column='F', blank=dict(A='zeros'))
    records = read_labels('i,F\na.png,B|A\nb.png,\nc.png,No Finding\n', reader)
    np.testing.assert_array_equal(scores(records), [[1, 1], [0, NAN], [0, 0]])


def test_multi_class_may_leave_zeros_blank(read_labels, scores):
    text = 'f,A,B\na.png,1,\nb.png,,1\n'
    reader = CsvLabelReader(blank='zeros')
    records = read_labels(text, reader, label_type='multi-class')
    np.testing.assert_array_equal(scores(records), [[1, 0], [0, 1]])
    with pytest.raises(UserError, match='row 2.*multi-class'):
        read_labels(text, label_type='multi-class')


def test_ranges_are_kept_beside_unknown_labels(read_labels, scores):
    reader = CsvLabelReader(
        uncertain=dict(A=dict(uniform=(0.55, 0.85)), default='ones'),
        blank=dict(B=dict(uniform=[0, 0.3])),
    )
    records = read_labels(TEXT, reader)
    expected = [[NAN, NAN], [1, 1], [NAN, 0]]
    np.testing.assert_array_equal(scores(records), expected)
    ranges = np.stack([record['score_range'] for record in records])
    assert ranges.dtype == np.float32
    wanted = np.full((3, 2, 2), NAN)
    wanted[0] = [[0.55, 0.85], [0, 0.3]]
    np.testing.assert_allclose(ranges, wanted)


@pytest.mark.parametrize('policy', [0.7, dict(B=0.7), dict(default=0.7)])
def test_a_number_between_is_a_range_of_one_value(read_labels, scores, policy):
    records = read_labels(
        'file,A,B\na.png,0,-1\n', CsvLabelReader(uncertain=policy)
    )
    np.testing.assert_array_equal(scores(records), [[0, NAN]])
    (record,) = records
    drawn = draw_scores(record['gt_score'], record['score_range'], 3, 0)
    np.testing.assert_array_equal(drawn, np.float32([0, 0.7]))


unit = st.floats(0, 1, width=32)


@given(
    ends=st.lists(st.tuples(unit, unit), min_size=1, max_size=5),
    seed=st.integers(0, 2**63 - 1),
    index=st.integers(0, 10**6),
)
def test_drawn_labels_lie_in_their_range(ends, seed, index):
    ranges = np.sort(np.array([*ends, (NAN, NAN)], np.float32), 1)
    scores = np.array([NAN] * len(ends) + [0.5], np.float32)
    drawn = draw_scores(scores, ranges, seed, index)
    assert drawn.dtype == np.float32
    assert (ranges[:-1, 0] <= drawn[:-1]).all()
    assert (drawn[:-1] <= ranges[:-1, 1]).all()
    assert drawn[-1] == 0.5
    np.testing.assert_array_equal(
        drawn, draw_scores(scores, ranges, seed, index)
    )


def test_draws_are_uniform_and_independent():
    ranges = np.array([[0.55, 0.85]] * 2, np.float32)
    scores = np.full(2, NAN, np.float32)
    drawn = np.array(
        [
            draw_scores(scores, ranges, s, i)
            for s in range(40)
            for i in range(9)
        ]
    )
    assert len(np.unique(drawn)) == drawn.size
    assert np.abs(drawn.mean(0) - 0.7).max() < 0.02
    assert np.abs(drawn.std(0) - 0.3 / 12**0.5).max() < 0.01


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (dict(uncertain='one'), ['uncertain', 'toy/cls', "'one'", 'ones']),
        (dict(uncertain=1.5), ['uncertain', '1.5', '0..1']),
        (dict(blank=True), ['blank', 'True']),
        (dict(blank=-1), ['blank', '-1']),
        (dict(uncertain=dict(uniform=(0.9, 0.1))), ['uniform', '(0.9, 0.1)']),
        (dict(uncertain=dict(uniform=0.3)), ['uniform']),
        (dict(uncertain=dict(uniform=(0, 2))), ['uniform']),
        (dict(uncertain=dict(uniform=(0, 1), A='ones')), ['uniform']),
        (dict(blank=dict(C='ones')), ['class "C"', 'blank', 'A, B, default']),
        (dict(blank=dict(A='onse')), ['blank', 'for "A"', 'onse']),
        (dict(blank=['ones', 'zeros']), ['blank', 'dict']),
    ],
)
def test_wrong_policies_are_named(read_labels, change, parts):
    with pytest.raises(UserError) as info:
        read_labels(TEXT, CsvLabelReader(**change))
    for part in parts:
        assert part in str(info.value), str(info.value)
    assert '\n' not in str(info.value)
