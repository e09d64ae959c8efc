"""COCO files and tables with mutated entries, cells and bytes."""

import copy
import gzip
import json

import numpy as np
import pytest
from fuzzing import fuzz, outcome_of
from hypothesis import strategies as st
from PIL import Image

from fx_mm.datasets.readers.coco import CocoReader
from fx_mm.datasets.readers.label_csv import CsvLabelReader
from fx_mm.datasets.readers.value_csv import CsvValueReader
from fx_mm.tasks import Task

SIDE = 32
NAMES = ('a.png', 'b.png', 'c.png')
ODD = st.sampled_from(
    [None, True, '', 'x', -1, 0, 1, 2, 99, 1.5, 1e300, -1e-9, [], [1, 2]]
    + [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7, 8], {}, {'id': 1}]
    + [float('nan'), float('inf'), '3', 'a.png', '../a.png', [None] * 4]
    + [[0, 0, float('nan'), 1], ['1', '2', '3', '4'], [-5, -5, 99, 99]]
)


@pytest.fixture(autouse=True)
def images(tmp_path):
    for name in NAMES:
        Image.new('L', (SIDE, SIDE)).save(tmp_path / name)


def coco():
    return dict(
        images=[
            dict(id=i, file_name=name, width=SIDE, height=SIDE)
            for i, name in enumerate(NAMES, 1)
        ],
        annotations=[
            dict(id=1, image_id=1, category_id=1, bbox=[1, 2, 10, 11]),
            dict(id=2, image_id=1, category_id=2, bbox=[5, 5, 20, 20]),
            dict(id=3, image_id=3, category_id=1, bbox=[0, 0, 32, 32]),
        ],
        categories=[dict(id=1, name='x'), dict(id=2, name='y')],
    )


PLACE = st.tuples(
    st.sampled_from(['images', 'annotations', 'categories']),
    # -1: the whole part; 3: each entry
    st.integers(-1, 3),
    st.sampled_from(
        ['id', 'file_name', 'width', 'height', 'image_id', 'bbox', 'name']
        + ['category_id', 'patient', None]
    ),
    st.sampled_from(['set', 'drop', 'twice']),
    ODD,
)


def change(content, place):
    """Change one place of a COCO file."""
    part, number, key, what, value = copy.deepcopy(place)
    entries = content[part]
    if number == 3 and isinstance(entries, list):
        for i in range(min(3, len(entries))):
            change(content, (part, i, key, what, value))
        return
    if number < 0 or not isinstance(entries, list):
        content[part] = value
    elif number >= len(entries):
        entries.append(value)
    elif key is None or not isinstance(entries[number], dict):
        entries[number] = value
    elif what == 'drop':
        entries[number].pop(key, None)
    elif what == 'twice':
        entries.append(copy.deepcopy(entries[number]))
    else:
        entries[number][key] = value


@fuzz(
    st.tuples(
        st.lists(PLACE, min_size=1, max_size=3),
        st.sampled_from(['x.json', 'x.json.gz', 'x.txt']),
        st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16']),
    ),
    examples=300,
)
def test_coco(folder, drawn):
    """Boxes are finite and within the image, or the file is refused."""
    places, name, encoding = drawn
    content = coco()
    for place in places:
        change(content, place)
    path = folder / name
    data = json.dumps(content).encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith('gz') else data)
    task = Task('d', 'loc', ('x', 'y'), config=dict())
    reader = CocoReader()
    records, outcome = outcome_of(
        lambda: reader(str(path), str(folder), task), path
    )
    if records is None:
        return outcome
    for i in range(len(records)):
        record = records[i]
        boxes = record['boxes']
        assert boxes.shape[1:] == (4,)
        assert np.isfinite(boxes).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        width, height = record['ann_size']
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()
        assert set(record['box_labels']) <= {0, 1}
    found, outcome = outcome_of(lambda: reader.patients(str(path), task), path)
    assert found is None or all(isinstance(p, str) for p in found.values())
    return outcome


CELLS = st.sampled_from(
    ['0', '1', '', ' ', '-1', '1.0', '0.5', 'nan', 'inf', 'x', '1e5', 'TRUE']
    + ['"1"', '"', '1,0', '1;0', 'a.png', 'A.PNG', '../a.png', '/a.png']
    + ['c.png', 'é', '\t', '\0', '٣', '1_0', '0x1', '−1']
)


@st.composite
def table(draw):
    """The bytes of a table, mutated here and there."""
    rows = [['image', 'patient', 'x', 'y']]
    rows += [[n, f'p{i}', '0', '1'] for i, n in enumerate(NAMES)]
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, 3))
        what = draw(st.sampled_from(['set', 'drop', 'add', 'twice']))
        if what == 'twice':
            rows.append(list(rows[row]))
        elif what == 'add' or column >= len(rows[row]):
            rows[row].append(draw(CELLS))
        elif what == 'drop':
            del rows[row][column]
        else:
            rows[row][column] = draw(CELLS)
    separator = draw(st.sampled_from([',', ',', ';', '\t', '|']))
    end = draw(st.sampled_from(['\n', '\r\n', '\r']))
    text = end.join(separator.join(row) for row in rows)
    text += draw(st.sampled_from(['', end, end * 3]))
    encoding = draw(
        st.sampled_from(['utf-8', 'utf-8', 'utf-8-sig', 'utf-16', 'latin-1'])
    )
    data = text.encode(encoding, 'replace')
    if draw(st.integers(0, 9)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    return data, draw(st.sampled_from(['x.csv', 'x.csv.gz', 'x.txt']))


def read_table(folder, drawn, reader, kind):
    """Write a table and read it; None for the records if it is refused."""
    data, name = drawn
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith('gz') else data)
    task = Task('d', kind, ('x', 'y'), config=dict())
    return outcome_of(lambda: reader(str(path), str(folder), task), path)


@fuzz(table(), examples=300)
def test_label_table(folder, drawn):
    """Labels are 0, 1 or unknown, or the file is refused."""
    records, outcome = read_table(folder, drawn, CsvLabelReader(), 'cls')
    if records is None:
        return outcome
    for i in range(len(records)):
        score = records[i]['gt_score']
        known = score[~np.isnan(score)]
        assert score.shape == (2,)
        assert ((known >= 0) & (known <= 1)).all()
        assert records[i]['img_id'] in NAMES
    return outcome


@fuzz(table(), examples=200)
def test_value_table(folder, drawn):
    """Values are finite or unknown, or the file is refused."""
    records, outcome = read_table(folder, drawn, CsvValueReader(), 'reg')
    if records is None:
        return outcome
    for i in range(len(records)):
        assert not np.isinf(records[i]['gt_value']).any()
    return outcome
