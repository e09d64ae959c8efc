"""CSV files: any line ends, and what is refused."""

import gzip

import pytest

from fx_mm.preparation.csv_table import CsvTable
from fx_mm.utils.errors import UserError

ROWS = 'name, code\na,1\nb,\n'


def rows(path, *names):
    return [cells for _, cells in CsvTable(path).rows(*names)]


def test_a_table_of_a_header_alone_is_refused(tmp_path):
    path = tmp_path / 'x.csv'
    path.write_text('name,code\n\n')
    with pytest.raises(UserError, match='x.csv: has a header but no rows'):
        rows(path, 'name')


@pytest.mark.parametrize(
    'data',
    [
        ROWS.encode(),
        ROWS.replace('\n', '\r\n').encode(),
        b'\xef\xbb\xbf' + ROWS.encode(),
        ROWS.rstrip('\n').encode(),
        b'name, code,,,\na,1,,,\nb,,,,\n',
        b'name, code,,,\na,1\nb,\n',
    ],
)
def test_tables_are_read_whatever_their_line_ends(tmp_path, data):
    (tmp_path / 'x.csv').write_bytes(data)
    (tmp_path / 'y.csv.gz').write_bytes(gzip.compress(data))
    for name in ('x.csv', 'y.csv.gz'):
        assert rows(tmp_path / name, 'code', 'name') == [['1', 'a'], ['', 'b']]


def test_cells_may_be_very_long_and_hold_line_ends(tmp_path):
    long = '1 2 ' * 100000
    (tmp_path / 'x.csv').write_text(f'name,code\n"a\nb","{long}"\nc,3\n')
    table = CsvTable(tmp_path / 'x.csv')
    (_, first), (where, last) = table.rows('name', 'code')
    assert first == ['a\nb', long.strip()]
    assert (where, last) == (f'{table.path}, row 4', ['c', '3'])


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'x.csv: the file is empty; download it again'),
        (b'code\n1\n', 'x.csv: has no column "name"; it has: "code"'),
        (b'name,code\na\n', 'row 2: has 1 cells, but the header has 2'),
        (b'name,code\na,1,2\n', 'row 2: has 3 cells, but the header has 2'),
        (b'name,code\na,"1\n', r'cannot be read after row 1 \(unexpected end'),
        (b'name,code\n\xff,1\n', 'cannot be read after row'),
    ],
)
def test_broken_tables_are_refused_by_row(tmp_path, data, message):
    (tmp_path / 'x.csv').write_bytes(data)
    with pytest.raises(UserError, match=message):
        rows(tmp_path / 'x.csv', 'name')


def test_a_cut_off_archive_is_refused(tmp_path):
    path = tmp_path / 'x.csv.gz'
    path.write_bytes(gzip.compress(ROWS.encode() * 99)[:-20])
    with pytest.raises(UserError, match='x.csv.gz: cannot be read after row'):
        rows(path, 'name')
    path.write_bytes(b'no archive')
    with pytest.raises(UserError, match='x.csv.gz: cannot be read after row'):
        rows(path, 'name')
