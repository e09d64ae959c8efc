import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from fx_mm.datasets.readers import CsvLabelReader, ListLabelReader
from fx_mm.datasets.readers.labels import parse_label
from fx_mm.utils.errors import UserError

CONFIGS = Path(__file__).parents[3] / 'configs' / '_base_' / 'datasets'
NAMES = ('a.png', 'b.png', 'c.png')


@pytest.fixture
def read(read_labels):
    return read_labels


def scores(records):
    return np.stack([record['gt_score'] for record in records])


def refuse(read, text, *parts, **kwargs):
    """Check that a file is refused with a message that has the parts."""
    with pytest.raises(UserError) as info:
        read(text, **kwargs)
    message = str(info.value)
    for part in parts:
        assert part in message, message
    assert '\n' not in message
    assert message.endswith('.')


def test_csv(read, tmp_path):
    records = read('file,B,extra,A\na.png,1,x,0\nc.png,,y,0.5\n')
    np.testing.assert_array_equal(scores(records), [[0, 1], [0.5, np.nan]])
    assert records[0]['gt_score'].dtype == np.float32
    assert records[1]['img_id'] == 'c.png'
    assert records[1]['img_path'] == str(tmp_path / 'images' / 'c.png')


@pytest.mark.parametrize('bom', [b'', b'\xef\xbb\xbf'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_csv_with_bom_and_any_line_end(read, bom, end):
    text = end.join(['A,B,file', '1,0,a.png', '', '0,1,b.png', ''])
    reader = CsvLabelReader(image_column='file')
    records = read(bom + text.encode(), reader)
    np.testing.assert_array_equal(scores(records), [[1, 0], [0, 1]])


def test_quoted_cells(read):
    records = read(
        '"file","A, or so","B"\n"a.png","1","0"\n', classes=('A, or so', 'B')
    )
    np.testing.assert_array_equal(scores(records), [[1, 0]])


def test_uncertain(read):
    text = 'file,A,B\na.png,-1.0,1\n'
    refuse(read, text, 'row 2, class "A"', '-1.0', 'uncertain')
    records = read(text, CsvLabelReader(uncertain=float('nan')))
    np.testing.assert_array_equal(scores(records), [[np.nan, 1]])
    records = read(text, CsvLabelReader(uncertain=1.0))
    np.testing.assert_array_equal(scores(records), [[1, 1]])


def test_findings_column(read):
    reader = CsvLabelReader(findings_column='F')
    text = 'i,F\na.png,B|A\nb.png,No Finding\nc.png,\n'
    expected = [[1, 1], [0, 0], [np.nan, np.nan]]
    np.testing.assert_array_equal(scores(read(text, reader)), expected)
    refuse(
        read,
        'i,F\na.png,A|Hernia\n',
        'row 2',
        '"Hernia"',
        'A, B',
        reader=reader,
    )


def test_img_ids_keep_the_named_images_and_need_no_others(read):
    text = 'file,A,B\na.png,1,0\nelsewhere.png,0,0\nb.png,0,1\n'
    records = read(text, CsvLabelReader(img_ids=['b.png']))
    assert [record['img_id'] for record in records] == ['b.png']
    refuse(
        read,
        text,
        '"img_ids" asks for "d.png"',
        '3 images',
        reader=CsvLabelReader(img_ids=['a.png', 'd.png']),
    )
    refuse(read, text, 'empty list', reader=CsvLabelReader(img_ids=[]))


def test_image_suffix(read):
    records = read('file,A,B\nb,1,0\n', CsvLabelReader(img_suffix='.png'))
    assert records[0]['img_id'] == 'b'
    assert records[0]['img_path'].endswith('b.png')


def test_multi_class_needs_one_one(read):
    records = read('f,A,B\na.png,0,1\n', label_type='multi-class')
    np.testing.assert_array_equal(scores(records), [[0, 1]])
    for row in ('1,1', '0,0', '0.5,0.5', '1,'):
        refuse(
            read,
            f'f,A,B\na.png,{row}\n',
            'row 2',
            'multi-class',
            label_type='multi-class',
        )


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('', ['l.csv', 'empty']),
        (' \n\n', ['l.csv', 'empty']),
        ('file,A,B\n', ['l.csv', 'no images']),
        (
            'file,A,C\na.png,1,0\n',
            ['no column "B"', 'toy/cls', '"file", "A", "C"'],
        ),
        ('file:A:B\na.png:1:0\n', ['no column "A"', '"file:A:B"']),
        ('file,A,B,A\na.png,1,0,1\n', ['"A" is in the header twice']),
        ('file,A,B\na.png,1,yes\n', ['row 2, class "B"', '"yes"']),
        ('file,A,B\na.png,1,0\n\nb.png,2,0\n', ['row 4, class "A"', '2']),
        ('file,A,B\na.png,1,-0.1\n', ['row 2, class "B"', '-0.1']),
        ('file,A,B\na.png,1,inf\n', ['row 2, class "B"', 'inf']),
        ('file,A,B\na.png,1\n', ['row 2', '2 cells', '3']),
        (
            'file,A,B\na.png,1,0\nb.png,1,0\na.png,0,1\n',
            ['row 4', '"a.png"', 'row 2'],
        ),
        (
            'file,A,B\na.png,1,0\nnone.png,1,0\n',
            ['row 3', 'none.png', 'does not exist'],
        ),
        ('file,A,B\n ,1,0\n', ['row 2', 'blank']),
        ('file,A,B\na.png,1,"0\n', ['row 2']),
        (b'file,A,B\nr\xf6ntgen.png,1,0\n', ['UTF-8', 'byte 10']),
        ('file,A,B\na.png\0,1,0\n', ['row 2']),
    ],
)
def test_bad_csv_is_named(read, text, parts):
    refuse(read, text, 'l.csv', *parts)


def test_missing_file_and_column_are_named(read):
    refuse(read, None, 'l.csv', 'No such file', 'toy/cls', 'splits')
    refuse(
        read,
        'file,A,B\na.png,1,0\n',
        'no column "Path"',
        '"file"',
        reader=CsvLabelReader(image_column='Path'),
    )
    refuse(
        read,
        'file,A,B\na.png,1,0\n',
        'no column "Labels"',
        reader=CsvLabelReader(findings_column='Labels'),
    )


@pytest.mark.parametrize('separator', [' ', '\t', ',', ', ', '   '])
def test_list(read, separator):
    rows = [('a.png', '0', '1'), ('c.png', '1.0', 'nan')]
    text = '\r\n'.join(separator.join(row) for row in rows) + '\r\n'
    records = read(text, ListLabelReader())
    np.testing.assert_array_equal(scores(records), [[0, 1], [1, np.nan]])
    assert [record['img_id'] for record in records] == ['a.png', 'c.png']


def test_list_of_class_numbers(read):
    reader = ListLabelReader(class_index=True)
    records = read('a.png 1\nb.png 0\n', reader, label_type='multi-class')
    np.testing.assert_array_equal(scores(records), [[0, 1], [1, 0]])
    refuse(read, 'a.png 2\n', 'row 1', '"2"', '0 to 1 (A, B)', reader=reader)
    refuse(read, 'a.png -1\n', 'row 1', '"-1"', reader=reader)
    refuse(read, 'a.png 0 1\n', 'row 1', '2 labels', reader=reader)


def test_list_with_blank_in_name_and_trailing_blank(
    tmp_path, write_images, make_task
):
    images = write_images('x ray.png')
    path = tmp_path / 'list.txt'
    path.write_text('x ray.png 0 1 \n')
    (record,) = ListLabelReader()(str(path), images, make_task())
    assert record['img_id'] == 'x ray.png'


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('', ['empty']),
        ('a.png 0 1\nb.png 0\n', ['row 2', '1 labels', '2 classes (A, B)']),
        ('a.png 0 1 1\n', ['row 1', '3 labels', '2 classes']),
        ('a.png,0,1,1\n', ['row 1', '3 labels', '2 classes']),
        ('a.png,1\n', ['row 1', '1 labels']),
        ('a.png 0 x\n', ['row 1, class "B"', '"x"']),
        ('a.png 0 3\n', ['row 1, class "B"', '3']),
        ('a.png 0 1\na.png 0 1\n', ['row 2', '"a.png"', 'row 1']),
        ('z.png 0 1\n', ['row 1', 'z.png', 'does not exist']),
    ],
)
def test_bad_list_is_named(read, text, parts):
    refuse(read, text, *parts, reader=ListLabelReader(), name='l.txt')


labels = st.one_of(st.none(), st.integers(0, 1), st.floats(0, 1, width=32))


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(st.tuples(labels, labels), min_size=1, max_size=3),
    end=st.sampled_from(['\n', '\r\n']),
    order=st.permutations(['image', 'A', 'B, or "b"', 'note']),
    note=st.text('ab,"\n ü', max_size=5),
)
def test_csv_round_trip(read, rows, end, order, note):
    classes = ('A', 'B, or "b"')
    file = io.StringIO()
    writer = csv.DictWriter(file, order, lineterminator=end)
    writer.writeheader()
    for name, values in zip(NAMES, rows):
        writer.writerow(dict(zip(classes, values), image=name, note=note))
    reader = CsvLabelReader(image_column='image')
    records = read(file.getvalue(), reader, classes=classes)
    expected = np.array(rows, np.float32)
    np.testing.assert_array_equal(scores(records), expected)


@given(st.text(max_size=12))
def test_any_text_is_a_label_or_refused(text):
    try:
        value = parse_label(text, 'here')
    except UserError as error:
        assert str(error).startswith('here: ')
    else:
        assert np.isnan(value) or 0 <= value <= 1


@pytest.mark.realdata
@pytest.mark.skipif(
    'FX_MM_REAL_DATA' not in os.environ, reason='needs FX_MM_REAL_DATA'
)
class TestRealFiles:
    root = Path(os.environ.get('FX_MM_REAL_DATA', ''))
    cfg = Config.fromfile(CONFIGS / 'real_nih.py')
    nih = tuple(cfg.real_nih.tasks.cls.classes)

    @pytest.mark.usefixtures('all_images_exist')
    def test_official_list_agrees_with_the_official_table(self, make_task):
        task = make_task('cls', self.nih)
        folder = str(self.root / 'nih')
        listed = ListLabelReader()(
            f'{folder}/Xray14_train_official.txt', folder, task
        )
        table = CsvLabelReader(findings_column='Finding Labels')(
            f'{folder}/Data_Entry_2017_v2020.csv', folder, task
        )
        known = {r['img_id']: r['gt_score'] for r in table}
        common = [r for r in listed if r['img_id'] in known]
        assert len(listed) == 200 and len(table) == 300
        assert len(common) > 100
        for record in common:
            np.testing.assert_array_equal(
                record['gt_score'], known[record['img_id']]
            )

    def test_list_of_the_image_that_is_there(self, make_task):
        folder = str(self.root / 'nih')
        (record,) = ListLabelReader(img_ids=['00000001_000.png'])(
            f'{folder}/Xray14_train_official.txt',
            folder,
            make_task('cls', self.nih),
        )
        assert np.flatnonzero(record['gt_score']).tolist() == [1]

    @pytest.mark.parametrize(
        ('name', 'reader', 'classes'),
        [
            (
                'chexpert/train.csv',
                CsvLabelReader(uncertain=1.0),
                ('Edema', 'No Finding'),
            ),
            (
                'mimic/mimic-cxr-2.0.0-test.csv',
                CsvLabelReader(uncertain=1.0),
                ('No Finding', 'Edema'),
            ),
            (
                'shenzhen/ShenzenCXR_train_data.txt',
                ListLabelReader(),
                ('Tuberculosis',),
            ),
            (
                'rsna/RSNAPneumonia_train.txt',
                ListLabelReader(class_index=True),
                ('Normal', 'Other', 'Opacity'),
            ),
            (
                'vindr/VinDrCXR_train_pe_global_one.txt',
                ListLabelReader(img_suffix='.jpeg'),
                tuple('ABCDEF'),
            ),
        ],
    )
    @pytest.mark.usefixtures('all_images_exist')
    def test_official_formats(self, make_task, name, reader, classes):
        path = self.root / name
        rows = [r for r in path.read_text().splitlines() if r.strip()]
        records = reader(str(path), '', make_task('cls', classes))
        header = isinstance(reader, CsvLabelReader)
        assert len(records) == len(rows) - header


def test_decimal_commas_between_semicolons(read_labels, scores, log):
    text = 'image;A;B\na.png;0,5;1,0\nb.png;1;0,25\nc.png;;0\n'
    np.testing.assert_array_equal(
        scores(read_labels(text)), [[0.5, 1], [1, 0.25], [np.nan, 0]]
    )
    assert log.text.count('reads the commas in its numbers as decimal') == 1


@pytest.mark.parametrize(
    'text', ['image;A;B\na.png;0,5,1;1\n', 'image,A,B\na.png,"0,5",1\n']
)
def test_other_commas_are_refused(read_labels, text):
    with pytest.raises(UserError, match='"0,5.*is not a number'):
        read_labels(text)
