"""Labels, boxes, sex and age as official files write them."""

import pytest

from fx_mm.preparation.cell_values import (
    parse_age,
    parse_box,
    parse_label,
    parse_sex,
)
from fx_mm.utils.errors import UserError


@pytest.mark.parametrize(
    ('text', 'age'),
    [
        ('', None),
        ('unknown', None),
        ('45', 45),
        ('058Y', 58),
        ('male 45yrs', 45),
        ('16month', 1.33),
        ('64days', 0.18),
        ('013M', 1.08),
        ('61.0', 61),
    ],
)
def test_ages_are_in_years(text, age):
    assert parse_age(text) == age


def test_sex_is_f_or_m_or_unknown():
    texts = ('Female', ' male ', 'F', 'm', 'O', 'Unknown', '')
    assert list(map(parse_sex, texts)) == ['F', 'M', 'F', 'M', *[None] * 3]


def test_a_box_is_corners_or_corner_and_size():
    assert parse_box('A', ['1', '2', '3.5', '4'], '') == ('A', 1, 2, 3.5, 4)
    assert parse_box('A', [1, 2, 3, 4], '', size=True) == ('A', 1, 2, 4, 6)


@pytest.mark.parametrize(
    'numbers',
    [
        ['', '', '', ''],
        ['1', '2', '1', '4'],
        ['3', '2', '1', '4'],
        ['1', '2', 'x', '4'],
        ['1', '2', 'nan', '4'],
        ['1', '2', 'inf', '4'],
        [1, 2, 3],
        [None, 1, 2, 3],
    ],
)
def test_a_box_without_area_is_refused(numbers):
    with pytest.raises(UserError, match=r'^x.csv, row 2: the box of A \('):
        parse_box('A', numbers, 'x.csv, row 2')


def test_a_label_is_one_of_three_numbers_or_blank():
    texts = ('0', '1.0', '-1', '-1.0', '')
    assert [parse_label(t, '') for t in texts] == [0, 1, -1, -1, None]
    with pytest.raises(UserError, match='row 2: label "0.5" is none of 0, 1'):
        parse_label('0.5', 'row 2')
