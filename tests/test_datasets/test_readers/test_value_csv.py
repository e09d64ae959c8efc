"""Numbers from tables: what is read, what is unknown, what is refused."""

import csv
import gzip
import io
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fx_mm.datasets import Records, TaskDataset
from fx_mm.datasets.readers import CsvValueReader
from fx_mm.datasets.readers.value_csv import parse_value
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

NAMES = ('a.png', 'b.png', 'c.png')
NAN = math.nan
TASK = Task('toy', 'reg', ('age', 'ratio'))


@pytest.fixture
def read(tmp_path, write_images):
    """Write a table beside three images and read it."""

    def run(text, task=TASK, **reader):
        images = write_images(*NAMES)
        path = tmp_path / 'values.csv'
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text, encoding='utf-8', newline='')
        return CsvValueReader(**reader)(str(path), images, task)

    return run


def values(records):
    return np.stack([record['gt_value'] for record in records])


def test_columns_are_found_by_name(read):
    records = read('image,ratio,sex,age\na.png,0.45,F,61\nc.png,-1e-2,M,+7\n')
    assert isinstance(records, Records)
    wanted = np.array([[61, 0.45], [7, -0.01]], np.float32)
    np.testing.assert_array_equal(values(records), wanted)
    assert records[0]['gt_value'].dtype == np.float32
    assert [record['img_id'] for record in records] == ['a.png', 'c.png']


@pytest.mark.parametrize('text', ['', '  ', 'nan', 'NaN', ' NAN '])
def test_unknown(read, text):
    records = read(f'image,age,ratio\na.png,{text},1\nb.png,2,{text}\n')
    np.testing.assert_array_equal(values(records), [[NAN, 1], [2, NAN]])


@pytest.mark.parametrize(
    'text',
    ['old', '61Y', '0.4.5', '1_000', 'inf', '-Infinity', '1e40'],
)
def test_what_is_no_number_is_refused_with_its_place(read, tmp_path, text):
    with pytest.raises(UserError) as info:
        read(f'image,age,ratio\na.png,1,2\n\nb.png,3,{text}\n')
    message = str(info.value)
    place = f'{tmp_path / "values.csv"}, row 4, column "ratio": "{text}"'
    assert message.startswith(place)
    assert message.endswith('.') and '\n' not in message


def test_a_decimal_comma_is_refused(read):
    with pytest.raises(UserError, match='row 2, column "ratio": "0,45"'):
        read('image,age,ratio\na.png,61,"0,45"\n')


def test_a_missing_column_is_named(read):
    with pytest.raises(UserError, match='no column "ratio"'):
        read('image,age\na.png,61\n')


def test_another_image_column_and_a_choice_of_rows(read):
    text = 'age,view,ratio,file\n1,PA,2,a.png\n3,L,4,b.png\n5,AP,6,c.png\n'
    records = read(text, image_column='file', where=dict(view=['PA', 'AP']))
    np.testing.assert_array_equal(values(records), [[1, 2], [5, 6]])


def test_some_images_and_a_suffix(read):
    text = 'image,age,ratio\na,1,2\nb,3,4\nc,5,6\n'
    records = read(text, img_suffix='.png', img_ids=['c', 'b'])
    np.testing.assert_array_equal(values(records), [[3, 4], [5, 6]])


def test_a_row_that_is_not_read_may_be_wrong_in_no_cell(read):
    """``where`` and ``img_ids`` choose before a cell is parsed."""
    text = 'image,view,age,ratio\na.png,PA,1,2\nb.png,L,old,2\n'
    assert len(read(text, where=dict(view='PA'))) == 1
    assert len(read(text, img_ids=['a.png'])) == 1


def test_a_table_behind_a_list_of_images(read, tmp_path):
    (tmp_path / 'table.csv').write_text(
        'image,age,ratio\na.png,1,2\nb.png,3,\nc.png,5,6\n'
    )
    records = read('c.png\nb.png\n', table='table.csv')
    np.testing.assert_array_equal(values(records), [[5, 6], [3, NAN]])
    (tmp_path / 'table.csv').write_text('image,age,ratio\nb.png,3,x\n')
    with pytest.raises(UserError, match='table.csv, row 2, column "ratio"'):
        read('b.png\n', table='table.csv')


def test_more_rows_than_a_block(read, tmp_path, monkeypatch):
    monkeypatch.setattr('fx_mm.datasets.readers.rows.CHUNK', 2)
    text = 'image,age,ratio\na.png,1,2\nb.png,3,\nc.png,5,6\n'
    wanted = [[1, 2], [3, NAN], [5, 6]]
    np.testing.assert_array_equal(values(read(text)), wanted)
    with pytest.raises(UserError, match='row 4, column "ratio": "six"'):
        read(text.replace('5,6', '5,six'))


def test_gzip(read):
    packed = gzip.compress(b'image,age,ratio\na.png,1,2\n')
    np.testing.assert_array_equal(values(read(packed)), [[1, 2]])


CELLS = st.one_of(
    st.just(''),
    st.just('nan'),
    st.integers(-(10**6), 10**6).map(str),
    st.floats(-(2.0**100), 2.0**100, width=32).map(repr),
    st.floats(-1e3, 1e3).map('{:.3f}'.format),
    st.floats(-1e3, 1e3).map(' {:e} '.format),
)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=3), st.data())
def test_any_table_of_numbers(read, rows, data):
    """Whatever csv writes comes back, in any order of the columns."""
    header = data.draw(st.permutations(['image', 'age', 'ratio', 'site']))
    text = io.StringIO()
    writer = csv.DictWriter(text, header)
    writer.writeheader()
    for name, (age, ratio) in zip(NAMES, rows):
        writer.writerow(dict(image=name, age=age, ratio=ratio, site='x, y'))
    records = read(text.getvalue(), image_column='image')
    wanted = [[float(c) if c.strip() else NAN for c in row] for row in rows]
    np.testing.assert_array_equal(
        values(records), np.array(wanted).astype(np.float32)
    )


@given(st.text('0123456789.,eE+-_ infaty', max_size=8))
def test_no_text_is_read_as_another_number(text):
    """What is read prints as the text, or means the same to Python."""
    value = parse_value(text)
    if math.isnan(value):
        assert text.strip().lower() in ('', 'nan', '+nan', '-nan')
    elif math.isfinite(value):
        assert float(text) == value and '_' not in text


def test_samples_hold_the_numbers(tmp_path, write_images):
    write_images(*NAMES)
    (tmp_path / 'train.csv').write_text('image,age,ratio\nb.png,61,\n')
    steps = [dict(type='LoadXray'), dict(type='PackXray')]
    task = Task(
        'toy',
        'reg',
        ('age', 'ratio'),
        str(tmp_path),
        'images',
        dict(
            reader=dict(type='CsvValueReader'),
            splits=dict(train='train.csv'),
            train_pipeline=steps,
        ),
    )
    sample = TaskDataset(task, 'train').sample(0, 0)['data_samples']
    assert sample.gt_value[0] == 61 and sample.gt_value[1].isnan()
    assert sample.kind == 'reg' and sample.img_id == 'b.png'


def test_made_up_numbers():
    made = [
        CsvValueReader.made_up(TASK, i, 8, np.random.default_rng(i))
        for i in range(200)
    ]
    numbers = np.stack([fields['gt_value'] for fields in made])
    assert numbers.shape == (200, 2) and numbers.dtype == np.float32
    assert abs(numbers.mean()) < 0.2 and 0.8 < numbers.std() < 1.2


def test_decimal_commas_between_semicolons(read, log):
    records = read('image;age;ratio\na.png;61,5;-0,25\nb.png;7;1,5e2\n')
    np.testing.assert_array_equal(values(records), [[61.5, -0.25], [7, 150]])
    assert log.text.count('reads the commas in its numbers as decimal') == 1
