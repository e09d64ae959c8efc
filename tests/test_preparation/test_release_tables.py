"""Tables and files of releases: any line ends, and what is refused."""

import gzip
from pathlib import Path

import pytest
from mmengine.config import Config
from release_helpers import write_release

from fx_mm.preparation.entries import RELEASES, find_release
from fx_mm.preparation.raw import (
    box_lists,
    label_tables,
    masks,
    vindr,
)
from fx_mm.preparation.raw.folders import (
    find,
    find_images,
    read_lines,
    read_records,
)
from fx_mm.preparation.raw.tables import (
    Table,
    parse_age,
    parse_box,
    parse_sex,
    parse_value,
)
from fx_mm.utils.errors import UserError

DATASETS = sorted(RELEASES)
ROWS = 'name, code\na,1\nb,\n'


def rows(path, *names):
    return [cells for _, cells in Table(path).rows(*names)]


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
    table = Table(tmp_path / 'x.csv')
    (_, first), (where, last) = table.rows('name', 'code')
    assert first == ['a\nb', long.strip()]
    assert (where, last) == (f'{table.path}, row 4', ['c', '3'])


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'x.csv: the file is empty; download it anew'),
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


def test_files_are_found_in_order_compressed_or_not(tmp_path):
    write_release(tmp_path, {'b/x.csv': '1', 'y.csv.gz': '2', 'b/z.csv': '3'})
    assert find(tmp_path, 'x.csv', '*/x.csv', holds='').name == 'x.csv'
    assert find(tmp_path, './y.csv', 'b/z.csv', holds='').name == 'y.csv.gz'
    with pytest.raises(UserError) as error:
        find(tmp_path, 'q.csv', 'p.csv', holds='q.csv and images/')
    assert str(error.value) == (
        f'{tmp_path}: has no q.csv nor p.csv; is it the right folder? It '
        'holds q.csv and images/.'
    )
    with pytest.raises(UserError, match='no/x: there is no such folder; it'):
        find(tmp_path / 'no' / 'x', 'q.csv', holds='q.csv')


def test_images_are_found_below_links_but_not_in_prepared(tmp_path):
    write_release(tmp_path / 'data', {'a/._1.2.dcm': 'of macOS'})
    files = ('a/1.2.dcm', 'b/c/1.3.DCM', 'prepared/images/1.4.dcm', 'a/x.txt')
    write_release(tmp_path / 'data', dict.fromkeys(files, ''))
    (tmp_path / 'data' / 'd').symlink_to(tmp_path / 'data' / 'b' / 'c')
    found = find_images(tmp_path / 'data', '.dcm')
    assert list(found) == ['1.2', '1.3']
    assert find_images(tmp_path / 'none', '.dcm') == {}
    assert list(find_images(tmp_path / 'data' / 'a', '.dcm', '')) == [
        '1.2',
        'x.txt',
    ]


def test_json_of_another_form_is_refused(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text('[{"a": 1}, {"b": 2}]')
    with pytest.raises(UserError, match=r"is no list of a \(at 'a'\)"):
        list(read_records(path, 'a'))
    with pytest.raises(UserError, match='is no list of a'):
        list(read_records(path, 'a', within='images'))
    path.write_text('[{"a": 1}, ')
    with pytest.raises(UserError, match='x.json: cannot be read'):
        list(read_records(path, 'a'))
    with pytest.raises(UserError, match='y.json: cannot be read'):
        list(read_records(tmp_path / 'y.json', 'a'))


def test_lists_skip_blank_lines_but_count_them(tmp_path):
    path = tmp_path / 'x.txt'
    path.write_bytes(b'\xef\xbb\xbfa\r\n\r\n b \r\n')
    assert list(read_lines(path)) == [
        (f'{path}, row 1', 'a'),
        (f'{path}, row 3', 'b'),
    ]
    with pytest.raises(UserError, match='y.txt: cannot be read'):
        list(read_lines(tmp_path / 'y.txt'))


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
    assert [parse_value(t, '') for t in texts] == [0, 1, -1, -1, None]
    with pytest.raises(UserError, match='row 2: label "0.5" is none of 0, 1'):
        parse_value('0.5', 'row 2')


def test_every_dataset_has_its_release():
    with pytest.raises(UserError, match='Unknown dataset "mnist"; known: '):
        find_release('mnist')
    assert len(DATASETS) == 17
    for release in map(find_release, DATASETS):
        assert release.read.__doc__
        # a split that is not official must come from somewhere
        shares = release.shares or dict(train=1 - release.hold_out)
        assert 0 < shares['train'] <= 1


GIVEN = dict(
    candid_ptx=['Pneumothorax'],
    chestx_det=masks.CHESTX_DET_CLASSES,
    chexpert=label_tables.CHEXPERT_CLASSES,
    covidx=label_tables.COVIDX_CLASSES,
    jsrt=['Lung', 'Heart', 'Clavicle'],
    mimic_cxr=label_tables.CHEXPERT_CLASSES,
    montgomery=['Lung'],
    nih14=label_tables.NIH14_CLASSES,
    node21=['Nodule'],
    rsna=box_lists.RSNA_CLASSES,
    shenzhen=['TB'],
    siim_acr=['Pneumothorax'],
    tbx11k=['Tuberculosis'],
    vindr_cxr=['PE', *vindr.LOCAL, *vindr.GLOBAL],
    vindr_findings=vindr.LOCAL,
    vindr_organs=['Heart', 'Left lung', 'Right lung'],
    vindr_ribcxr=masks.RIBS,
)
CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.mark.parametrize('name', DATASETS)
def test_configs_ask_for_classes_that_the_releases_give(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')[name]
    for task in config.tasks.values():
        assert set(task.classes) <= set(GIVEN[name])


@pytest.mark.parametrize('name', DATASETS)
def test_a_wrong_folder_is_told_what_it_should_hold(name, tmp_path):
    with pytest.raises(UserError) as error:
        list(find_release(name).read(tmp_path))
    assert f'{tmp_path}: has no ' in str(error.value)
    assert '; is it the right folder? It holds ' in str(error.value)
    with pytest.raises(UserError, match='there is no such folder; it holds'):
        list(find_release(name).read(tmp_path / 'none'))
