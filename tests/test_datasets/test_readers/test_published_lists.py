"""Lists and tables as they are published, read as they are."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from fx_mm.datasets.readers import CocoReader, CsvLabelReader, ListLabelReader
from fx_mm.utils.errors import UserError

REPO = Path(__file__).parents[3]
CONFIG = REPO / 'configs/_base_/datasets/real_nih.py'
NIH = dict(findings_column='Finding Labels', table='Data_Entry.csv')
ENTRIES = (
    'Image Index,Finding Labels,Patient ID,OriginalImage[Width,Height],\n'
    'a.png,B,1,2682,2749,\n'
    'z.png,Hernia,2,2682,2749,\n'
    'b.png,No Finding,3,2682,2749,\n'
    'c.png,A|B,3,2682,2749,\n'
)
PATIENT_LIST = (
    '419639-003251 a.png COVID-19 ricord\r\n'
    '12 b.png normal cohen\r\n'
    '13 c.png pneumonia rsna \r\n'
)


class TestTwoStepLists:
    @pytest.fixture(autouse=True)
    def table(self, tmp_path):
        (tmp_path / 'Data_Entry.csv').write_text(ENTRIES)

    @pytest.mark.parametrize('end', ['\n', '\r\n'])
    def test_the_list_chooses_and_orders(self, read_labels, scores, end):
        records = read_labels(f'c.png{end}b.png {end}', CsvLabelReader(**NIH))
        assert [r['img_id'] for r in records] == ['c.png', 'b.png']
        np.testing.assert_array_equal(scores(records), [[1, 1], [0, 0]])

    def test_columns_of_classes(self, read_labels, scores, tmp_path):
        (tmp_path / 't.csv').write_text('i,B,A\na.png,1,0\nb.png,,-1\n')
        reader = CsvLabelReader(table='t.csv', uncertain='ones')
        records = read_labels('b.png\na.png\n', reader)
        np.testing.assert_array_equal(scores(records), [[1, np.nan], [0, 1]])

    def test_where_and_only_go_with_it(self, read_labels):
        where = {'Patient ID': 3}
        reader = CsvLabelReader(**NIH, where=where)
        records = read_labels('a.png\nb.png\nc.png\n', reader)
        assert [r['img_id'] for r in records] == ['b.png', 'c.png']
        reader = CsvLabelReader(**NIH, where=where, img_ids=['c.png'])
        records = read_labels('a.png\nb.png\nc.png\n', reader)
        assert [r['img_id'] for r in records] == ['c.png']

    @pytest.mark.parametrize(
        ('text', 'change', 'parts'),
        [
            ('', {}, ['l.csv', 'empty']),
            ('a.png\na.png\n', {}, ['l.csv, row 2', '"a.png"', 'row 1']),
            ('a.png\nq.png\n', {}, ['row 2', '"q.png" has no row in']),
            (
                'q.png\n',
                dict(where={'Patient ID': '1'}),
                ['row 1', '"q.png" has no row in'],
            ),
            ('z.png\n', {}, ['Data_Entry.csv, row 3', '"Hernia"']),
            ('a.png\n', dict(table='none.csv'), ['none.csv', 'No such file']),
            ('a.png\n', dict(table='../t.csv'), ['"../t.csv"', 'leads out']),
            ('a.png\n', dict(table='/t.csv'), ['"/t.csv"', 'leads out']),
            (
                'a.png\n',
                dict(image_column='Path'),
                ['Data_Entry.csv', 'no column "Path"'],
            ),
        ],
    )
    def test_mistakes_are_named(self, read_labels, text, change, parts):
        with pytest.raises(UserError) as info:
            read_labels(text, CsvLabelReader(**NIH | change))
        for part in parts:
            assert part in str(info.value), str(info.value)

    def test_an_image_twice_in_the_table(self, read_labels, tmp_path):
        (tmp_path / 'Data_Entry.csv').write_text(
            ENTRIES + 'a.png,A,1,2682,2749,\n'
        )
        records = read_labels('b.png\n', CsvLabelReader(**NIH))
        assert len(records) == 1
        with pytest.raises(UserError, match='Entry.csv, row 6.*row 2'):
            read_labels('a.png\n', CsvLabelReader(**NIH))


class TestWhere:
    text = (
        'Path,View,A,B\na.png,Frontal,1,0\nelsewhere.png,Lateral,0,0\n'
        'c.png, AP ,0,1\n'
    )

    @pytest.mark.parametrize(
        ('where', 'expected'),
        [
            (dict(View='Frontal'), ['a.png']),
            (dict(View=['Frontal', 'AP']), ['a.png', 'c.png']),
            (dict(View=('Frontal', 'AP'), A=0), ['c.png']),
        ],
    )
    def test_rows_are_chosen(self, read_labels, where, expected):
        records = read_labels(self.text, CsvLabelReader(where=where))
        assert [r['img_id'] for r in records] == expected

    def test_mistakes_are_named(self, read_labels):
        with pytest.raises(UserError, match='no column "view" .where.*"View"'):
            read_labels(self.text, CsvLabelReader(where=dict(view='AP')))
        with pytest.raises(
            UserError,
            match='"where" leaves no row.*"View" are "AP", "Frontal"',
        ):
            read_labels(self.text, CsvLabelReader(where=dict(View='PA')))


def test_gzip(read_labels, scores, tmp_path, write_images, make_task):
    text = 'file,A,B\na.png,1,0\n'
    records = read_labels(gzip.compress(text.encode()), name='l.csv.gz')
    np.testing.assert_array_equal(scores(records), [[1, 0]])
    records = read_labels(
        gzip.compress(b'a.png 0 1\n'), ListLabelReader(), name='l.txt'
    )
    np.testing.assert_array_equal(scores(records), [[0, 1]])
    content = b'{"images": [{"id": 1, "file_name": "a.png", "width": 9, '
    content += b'"height": 9}], "annotations": [], "categories": '
    content += b'[{"id": 1, "name": "A"}]}'
    path = tmp_path / 'boxes.json.gz'
    path.write_bytes(gzip.compress(content))
    task = make_task('loc', ('A',))
    assert len(CocoReader()(str(path), write_images('a.png'), task)) == 1


def test_damaged_gzip_is_named(read_labels):
    rows = ''.join(f'{n}.png,1,0\n' for n in range(4000))
    data = gzip.compress(f'file,A,B\n{rows}'.encode())
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 255
    for wrong in (data[:-900], data[:20], bytes(damaged)):
        with pytest.raises(UserError, match='l.csv: the gzip file is cut off'):
            read_labels(wrong, CsvLabelReader(img_ids=['a.png']))


def test_position_of_a_wrong_byte_in_a_large_file(read_labels):
    rows = ''.join(f'{n}.png,1,0\n' for n in range(9000)).encode()
    with pytest.raises(UserError, match=f'byte {len(rows) + 9}'):
        read_labels(
            b'file,A,B\n' + rows + b'\xff.png,1,0\n',
            CsvLabelReader(img_ids=['a.png']),
        )


def test_torchxrayvision_style(read_labels, scores):
    text = (
        ',PatientID,ImageID,Projection,A,B,Sex\n'
        '0,7,a.png,PA,NaN,-1.0,M\n'
        '1,7,b.png,PA,1.0,nan,M\n'
        '2,9,c.png,L,0.0,0.0,\n'
    )
    reader = CsvLabelReader(
        image_column='ImageID', uncertain='ignore', where=dict(Projection='PA')
    )
    expected = [[np.nan, np.nan], [1, np.nan]]
    np.testing.assert_array_equal(scores(read_labels(text, reader)), expected)


def test_patient_file_class_source(read_labels, scores):
    classes = ('normal', 'pneumonia', 'COVID-19')
    reader = ListLabelReader(image_column=1, class_column=2)
    records = read_labels(PATIENT_LIST, reader, classes, 'multi-class')
    assert [r['img_id'] for r in records] == ['a.png', 'b.png', 'c.png']
    expected = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(scores(records), expected)


def test_class_column_by_number(read_labels, scores):
    reader = ListLabelReader(image_column=1, class_column=2, class_index=True)
    records = read_labels('7,a.png,1,x\n8,b.png, 0,x\n', reader)
    np.testing.assert_array_equal(scores(records), [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('1 a.png COVID x\n', ['row 1', '"COVID"', 'normal, pneumonia']),
        ('1 a.png\n', ['row 1', '2 columns', 'column 2']),
    ],
)
def test_bad_rows_of_columns_are_named(read_labels, text, parts):
    reader = ListLabelReader(image_column=1, class_column=2)
    with pytest.raises(UserError) as info:
        read_labels(text, reader, ('normal', 'pneumonia'))
    for part in parts:
        assert part in str(info.value), str(info.value)


def test_column_numbers_are_checked():
    with pytest.raises(UserError, match='image_column needs a class_column'):
        ListLabelReader(image_column=1)
    with pytest.raises(UserError, match='class_column is -1'):
        ListLabelReader(class_column=-1)


def test_blank_then_commas(read_labels, scores):
    reader = ListLabelReader(img_suffix='.png')
    records = read_labels('a 0,1\r\nb 1,0\r\n', reader)
    np.testing.assert_array_equal(scores(records), [[0, 1], [1, 0]])
    with pytest.raises(UserError, match='row 1: has 3 labels'):
        read_labels('a 0,1,1,1\n', reader)


def test_header_of_a_list(read_labels, scores):
    reader = ListLabelReader(header=True, img_suffix='.png')
    records = read_labels('uid label\na 1\nb 0\n', reader, ('A',))
    np.testing.assert_array_equal(scores(records), [[1], [0]])


@pytest.mark.realdata
@pytest.mark.skipif(
    'FX_MM_REAL_DATA' not in os.environ, reason='needs FX_MM_REAL_DATA'
)
@pytest.mark.usefixtures('all_images_exist')
class TestRealFiles:
    root = Path(os.environ.get('FX_MM_REAL_DATA', ''))

    def test_two_steps_agree_with_the_list_of_labels(
        self, make_task, tmp_path
    ):
        classes = Config.fromfile(CONFIG).real_nih.tasks.cls.classes
        task = make_task('cls', classes)
        source = self.root / 'nih'
        listed = ListLabelReader()(
            str(source / 'Xray14_train_official.txt'), '', task
        )
        table = (source / 'Data_Entry_2017_v2020.csv').read_text()
        (tmp_path / 'table.csv').write_text(table)
        known = {line.split(',')[0] for line in table.splitlines()}
        expected = [r for r in listed if r['img_id'] in known]
        names = [r['img_id'] for r in expected]
        (tmp_path / 'train_val_list.txt').write_text('\n'.join(names))
        got = CsvLabelReader(
            findings_column='Finding Labels', table='table.csv'
        )(str(tmp_path / 'train_val_list.txt'), '', task)
        assert [r['img_id'] for r in got] == names
        for one, two in zip(got, expected):
            np.testing.assert_array_equal(one['gt_score'], two['gt_score'])

    def test_views_and_policies_of_chexpert(self, make_task, scores):
        task = make_task('cls', ('Edema', 'No Finding', 'Atelectasis'))
        path = str(self.root / 'chexpert/train.csv')
        policies = dict(uncertain=dict(uniform=(0.55, 0.85)), blank='zeros')
        everything = CsvLabelReader(**policies)(path, '', task)
        frontal = CsvLabelReader(
            **policies, where={'Frontal/Lateral': 'Frontal'}
        )(path, '', task)
        assert 0 < len(frontal) < len(everything)
        assert all('frontal' in r['img_id'] for r in frontal)
        unknown = np.isnan(scores(everything))
        ranges = np.stack([r['score_range'] for r in everything])
        assert unknown.any()
        np.testing.assert_array_equal(unknown, ~np.isnan(ranges[..., 0]))
