"""COVIDx: lines of text."""

import pytest
from raw_helpers import read, write_files

from fx_mm.utils.errors import UserError


def test_covidx_reads_lines_with_and_without_source(tmp_path):
    root = write_files(
        tmp_path,
        {
            'train.txt': '1 a b.png normal rsna\n2 c.jpg pneumonia\n',
            'test.txt': '419639-003251 d.png COVID-19 ricord\r\n',
        },
    )
    first, second, test = read('covidx', root)
    assert first.name == 'train/a b.png' and first.patient == '1'
    assert first.labels == {'normal': 1, 'pneumonia': 0, 'COVID-19': 0}
    assert first.metadata == dict(source='rsna')
    assert second.source == root / 'train' / 'c.jpg'
    assert second.metadata == dict(source=None) and second.split == 'train'
    assert test.split == 'test' and test.labels['COVID-19'] == 1


@pytest.mark.parametrize('line', ['1 a.png positive bimcv', 'a.png normal'])
def test_covidx_refuses_two_classes_and_other_lines(tmp_path, line):
    root = write_files(tmp_path, {'train.txt': line, 'test.txt': ''})
    with pytest.raises(UserError, match='train.txt, row 1: ".*" is no line'):
        read('covidx', root)
