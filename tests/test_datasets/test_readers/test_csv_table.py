"""CSV files: any line ends and delimiters, and what is refused."""

import gzip

import pytest

from fx_mm.datasets.readers.csv_table import CsvTable, find_delimiter
from fx_mm.utils.errors import UserError

HINT = 'download it again'
ROWS = 'name, code\na,1\nb,\n'


def rows(path, *names):
    return [cells for _, cells in CsvTable(path, HINT).rows(*names)]


def test_a_table_of_a_header_alone_is_refused(tmp_path):
    path = tmp_path / 'x.csv'
    path.write_text('name,code\n\n')
    with pytest.raises(UserError, match=f'header but no rows; {HINT}'):
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
        b'name, code\n  ,\na,1\n\xc2\xa0, \t\n b,\n,\n\n',
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
    table = CsvTable(tmp_path / 'x.csv', HINT)
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
        (b'name,code\na,"1\n', r'row 2: is not valid CSV \(unexpected end'),
        (b'name,code\n\xff,1\n', r'is not UTF-8 text \(byte 10\)'),
        (b'name,name\n', 'column "name" is in the header twice'),
        (b',,\n', 'x.csv: has no header; download it again'),
        (b'"id\nname",a\n1,2\n', 'no column "name"; it has: "id name", "a"'),
    ],
)
def test_broken_tables_are_refused_by_row(tmp_path, data, message):
    (tmp_path / 'x.csv').write_bytes(data)
    with pytest.raises(UserError, match=message):
        rows(tmp_path / 'x.csv', 'name')


def test_a_cut_off_archive_is_refused(tmp_path):
    path = tmp_path / 'x.csv.gz'
    path.write_bytes(gzip.compress(ROWS.encode() * 99)[:-20])
    with pytest.raises(UserError, match='x.csv.gz: the gzip file is cut off'):
        rows(path, 'name')


def test_each_walk_reads_the_file_from_its_start(tmp_path):
    path = tmp_path / 'x.csv'
    path.write_text(ROWS)
    table = CsvTable(path, HINT)
    assert list(table) == list(table) == [(2, ['a', '1']), (3, ['b', ''])]
    assert 'code' in table and 'a' not in table


def test_no_lines_have_the_usual_delimiter():
    assert find_delimiter([]) == find_delimiter(['\n']) == ','
    assert find_delimiter(['image\n', 'a.png\n']) == ','


@pytest.mark.parametrize(
    ('sign', 'word'),
    [(';', 'semicolons'), ('\t', 'tabs'), ('|', 'vertical bars')],
)
@pytest.mark.parametrize('ending', ['', '\n', '\r\n'])
@pytest.mark.parametrize('rows_', [1, 2, 30])
def test_other_delimiters_are_found_and_said_once(
    tmp_path, log, sign, word, ending, rows_
):
    path = tmp_path / 'x.csv'
    lines = ['image,Nodule,note', *['a.png,1,"x, y"', 'b.png,0,z'] * rows_]
    text = (ending or '\n').join(lines).replace(',', sign)
    path.write_text(text + ending, newline='')
    table = CsvTable(path, HINT)
    assert table.header == ['image', 'Nodule', 'note']
    found = [cells for _, cells in table]
    note = f'x{sign} y'
    assert found == [['a.png', '1', note], ['b.png', '0', 'z']] * rows_
    CsvTable(path, HINT)
    said = f'{path}: its columns are separated by {word} and not by commas.'
    assert log.text.count(said) == 1


@pytest.mark.parametrize(
    ('text', 'delimiter'),
    [
        ('image;note\na.png;small, round\nb.png;none\n', ';'),
        ('image;note\na.png;1,5\nb.png;2,5\n', ';'),
        ('image;small, round;A\na.png;1;0\nb.png;1;0\n', ';'),
        ('image;"a, b, c";A\na.png;1;0\n', ';'),
        ('image,small; round,A\na.png,1,0\n', ','),
        ('image,"a; b; c; d",A\na.png,1,0\n', ','),
        ('image,labels\na.png,A|B|C\nb.png,A;B\nc.png,A\tB\n', ','),
        ('image,a;b;c\na.png,1\n', ','),
        ('image, a,,,\na.png,1\n', ','),
        ('image\ta, b\na.png\t1\n', '\t'),
        ('image;a\nx.png;1;2\n', ';'),
        ('image,a\nx.png,"1;\n2;"\n', ','),
    ],
)
def test_delimiters_are_not_confused_with_signs_within(
    tmp_path, text, delimiter
):
    assert find_delimiter(text.splitlines(keepends=True)) == delimiter


def test_marks_and_forms_of_unicode_in_a_header(tmp_path):
    path = tmp_path / 'x.csv'
    text = 'image,Oe\u0301dema\na.png,1\n'
    path.write_text('\ufeff' * 2 + text, encoding='utf-8')
    assert rows(path, 'image', 'O\xe9dema') == [['a.png', '1']]
    assert rows(path, 'image', 'Oe\u0301dema') == [['a.png', '1']]
    assert 'Oe\u0301dema' in CsvTable(path, HINT)


@pytest.mark.parametrize('first', ['sep=;', '"sep=;"', 'SEP=;', 'sep=:'])
def test_the_line_that_states_the_separator_is_no_header(tmp_path, log, first):
    path = tmp_path / 'x.csv'
    path.write_text(f'{first}\r\nname;code, a\r\na;1\r\n', newline='')
    table = CsvTable(path, HINT)
    assert table.header == ['name', 'code, a']
    assert list(table) == list(table) == [(3, ['a', '1'])]
    path.write_text('sep=;\nname;code\na;1\nb\n')
    with pytest.raises(UserError, match='row 4: has 1 cells'):
        rows(path, 'name')
