"""VinDr-CXR: DICOM of all kinds, three readers, CheXmask's organs."""

import csv
from collections import defaultdict

import numpy as np
import pydicom
import pytest

from fx_mm.phantom import write_raw
from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_writer import draw_raw_cases
from fx_mm.preparation.vindr import GLOBAL, LOCAL

ARGUMENTS = dict(counts=dict(train=16, val=3, test=9), size=64)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    return write_raw('vindr_findings', folder, **ARGUMENTS)


@pytest.fixture(scope='module')
def cases():
    return draw_raw_cases('vindr_findings', **ARGUMENTS)


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_one_folder_for_three_datasets(raw):
    for name in ('vindr_cxr', 'vindr_organs'):
        assert write_raw(name, raw.parent, **ARGUMENTS) == raw
    assert raw.name == 'vindr_cxr'


def shown(path):
    """Return the grey values that a viewer shows."""
    data = pydicom.dcmread(path)
    values = data.pixel_array.astype(float)
    if 'WindowCenter' in data:
        middle, width = float(data.WindowCenter), float(data.WindowWidth)
        values = 255 * ((values - middle + 0.5) / (width - 1) + 0.5)
    if data.PhotometricInterpretation == 'MONOCHROME1':
        values = 255 - values
    return np.rint(values).astype(int)


def test_labels_and_boxes(raw, cases):
    tables = {}
    for kind in ('image_labels', 'annotations'):
        for split in ('train', 'test'):
            path = raw / f'annotations/{kind}_{split}.csv'
            groups = defaultdict(list)
            for row in table(path):
                groups[row['image_id']].append(row)
            tables[kind, split] = groups
    missed = 0
    for case in cases:
        image = shown(raw / case.split / f'{case.key}.dicom')
        assert np.array_equal(image, case.phantom.image)
        labels = tables['image_labels', case.split][case.key]
        boxes = tables['annotations', case.split][case.key]
        assert len(labels) == (3 if case.split == 'train' else 1)
        for name in (*LOCAL, *GLOBAL):
            found = [row[name] == '1' for row in labels]
            if name != 'No finding':
                assert any(found) == means(name, case.findings)
                missed += any(found) and not all(found)
        readers = {row.get('rad_id') for row in labels}
        assert {row.get('rad_id') for row in boxes} == readers
        masses = [box for n, box in case.phantom.boxes if n == 'Mass']
        drawn = [
            [int(row[k]) for k in ('x_min', 'y_min', 'x_max', 'y_max')]
            for row in boxes
            if row['class_name'] == 'Lung cavity'
        ]
        if case.split == 'test':
            assert drawn == [list(box) for box in masses]
            continue
        assert 2 * len(masses) <= len(drawn) <= 3 * len(masses)
        for box in drawn:
            assert min(np.abs(np.subtract(box, m)).max() for m in masses) < 3
    assert missed


def test_organs(raw, cases):
    rows = table(raw / 'OriginalResolution/VinDr-CXR.csv')
    for row, case in zip(rows, cases, strict=True):
        assert row['image_id'] == case.key
        height, width = int(row['Height']), int(row['Width'])
        assert (height, width) == case.phantom.image.shape == (80, 64)
        for organ in ('Left Lung', 'Right Lung', 'Heart'):
            mask = np.zeros(height * width, bool)
            numbers = [int(number) for number in row[organ].split()]
            for start, length in zip(numbers[::2], numbers[1::2]):
                mask[start - 1 : start - 1 + length] = True
            expected = case.phantom.masks[organ.capitalize()]
            assert np.array_equal(mask.reshape(height, width), expected)
