"""Official files, read back by other means and compared with the truth."""

import csv
import gzip
import json
import re
import zlib
from collections import defaultdict

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from fx_mm.phantom import RAW_LAYOUTS, write_raw
from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_writer import draw_raw_cases
from fx_mm.preparation.raw.chestx_det import CLASSES as CHESTX_DET
from fx_mm.preparation.raw.chexpert import CLASSES as CHEXPERT
from fx_mm.preparation.raw.nih14 import CLASSES as NIH
from fx_mm.preparation.raw.vindr_ribcxr import CLASSES as RIBS

COUNTS = dict(train=16, val=3, test=9)
SIZE = 64


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """All raw datasets; tests read but do not change them."""
    folder = tmp_path_factory.mktemp('data')
    for name in RAW_LAYOUTS:
        write_raw(name, folder, COUNTS, SIZE)
    return folder


@pytest.fixture
def truth():
    """Draw the labelled cases of a raw dataset."""

    def draw(name):
        cases = draw_raw_cases(name, COUNTS, SIZE)
        return [case for case in cases if case.split != 'unlabelled']

    return draw


def table(path):
    content = path.read_bytes()
    if path.suffix == '.gz':
        content = gzip.decompress(content)
    return list(csv.DictReader(content.decode().splitlines()))


def grouped(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    return groups


def pixels(path):
    """Decode a PNG or JPEG file as grey."""
    image = np.asarray(Image.open(path).convert('L'))
    return image.astype(int)


def assert_same(image, case, lossy=False):
    difference = np.abs(image - case.phantom.image.astype(int))
    assert difference.mean() < 3 if lossy else difference.max() == 0


def test_chexpert(root, truth):
    raw = root / 'chexpert'
    rows = table(raw / 'CheXpert-v1.0/train.csv')
    train = len(rows)
    rows += table(raw / 'CheXpert-v1.0/valid.csv')
    assert list(rows[0]) == [
        'Path', 'Sex', 'Age', 'Frontal/Lateral', 'AP/PA', *CHEXPERT
    ]  # fmt: skip
    rows += table(raw / 'CheXpert_test_official.csv')
    assert list(rows[-1]) == ['Path', *CHEXPERT]
    cases = truth('chexpert')
    assert len(rows) == len(cases) and train == COUNTS['train']
    values = set()
    for number, (row, case) in enumerate(zip(rows, cases)):
        pattern = r'CheXpert-v1.0/(train|valid|test)/patient(\d{5})/study\d/'
        match = re.match(pattern, row['Path'])
        assert int(match[2]) == case.patient
        assert_same(pixels(raw / row['Path']), case, lossy=True)
        assert ('lateral' in row['Path']) == (case.position == 'LATERAL')
        for name in CHEXPERT:
            if number < train:
                values.add(row[name])
            # Doubtful labels are of what is there, blanks of what is not.
            found = row[name] in ('1.0', '-1.0')
            assert found == means(name, case.findings)
    assert values == {'', '0.0', '1.0', '-1.0'}


def test_mimic_cxr(root, truth):
    raw = root / 'mimic_cxr'
    labels = table(raw / 'mimic-cxr-2.0.0-chexpert.csv.gz')
    assert list(labels[0])[2:] == sorted(CHEXPERT)
    labels = {row['study_id']: row for row in labels}
    splits = table(raw / 'mimic-cxr-2.0.0-split.csv.gz')
    views = table(raw / 'mimic-cxr-2.0.0-metadata.csv.gz')
    cases = truth('mimic_cxr')
    assert len(splits) == len(views) == len(cases) + 1
    assert splits[-1]['study_id'] not in labels
    names = dict(train='train', val='validate', test='test')
    for split, view, case in zip(splits, views, cases):
        subject, study = split['subject_id'], split['study_id']
        path = f'p{subject[:2]}/p{subject}/s{study}/{split["dicom_id"]}.jpg'
        assert_same(pixels(raw / 'files' / path), case, lossy=True)
        assert split['split'] == names[case.split]
        assert view['ViewPosition'] == case.position
        row = labels[study]
        assert row['subject_id'] == subject
        for name in CHEXPERT:
            found = row[name] in ('1.0', '-1.0')
            assert found == means(name, case.findings)


def test_nih14(root, truth):
    raw = root / 'nih14'
    with (raw / 'Data_Entry_2017_v2020.csv').open() as file:
        header, *rows = csv.reader(file)
    assert ','.join(header) == (
        'Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,'
        'Patient Gender,View Position,OriginalImage[Width,Height],'
        'OriginalImagePixelSpacing[x,y]'
    )
    lists = {
        split: (raw / f'{split}_list.txt').read_text().split()
        for split in ('train_val', 'test')
    }
    assert lists['train_val'] + lists['test'] == [row[0] for row in rows]
    cases = truth('nih14')
    boxes = defaultdict(set)
    with (raw / 'BBox_List_2017.csv').open() as file:
        header, *given = csv.reader(file)
    assert ','.join(header) == 'Image Index,Finding Label,Bbox [x,y,w,h],,,'
    for name, label, *box in given:
        boxes[name].add((label, *map(float, box)))
    assert set(boxes) <= set(lists['test'])
    for row, case in zip(rows, cases, strict=True):
        assert_same(pixels(raw / 'images' / row[0]), case)
        assert row[0].startswith(f'{int(row[3]):08d}_{int(row[2]):03d}')
        drawn = {name for name, _ in case.phantom.boxes}
        expected = {c for c in NIH if means(c, drawn)}
        assert set(row[1].split('|')) == (expected or {'No Finding'})
        if 'Mass' in drawn and case.split == 'test':
            found = {b[1:] for b in boxes[row[0]] if b[0] == 'Mass'}
            assert found == {
                (16.0 * x1, 16.0 * y1, 16.0 * (x2 - x1), 16.0 * (y2 - y1))
                for name, (x1, y1, x2, y2) in case.phantom.boxes
                if name == 'Mass'
            }
    modes = {Image.open(p).mode for p in (raw / 'images').iterdir()}
    assert modes == {'L', 'RGBA'}


def test_shenzhen_and_montgomery(root, truth):
    for name, prefix in (('shenzhen', 'CHNCXR'), ('montgomery', 'MCUCXR')):
        raw = root / name
        for case in truth(name):
            sick = bool(case.findings & {'Consolidation', 'Nodule'})
            image = f'{prefix}_{case.number:04d}_{int(sick)}'
            assert_same(pixels(raw / f'CXR_png/{image}.png'), case)
            text = (raw / f'ClinicalReadings/{image}.txt').read_text()
            first = f'male {case.age}yrs\n'
            if name == 'montgomery':
                first = f"Patient's Sex: {case.sex}\nPatient's Age: 0"
            assert first in text and ('normal' in text) == (not sick)
            if name == 'shenzhen':
                continue
            for side in ('left', 'right'):
                mask = np.asarray(
                    Image.open(raw / f'ManualMask/{side}Mask/{image}.png')
                )
                expected = case.phantom.masks[f'{side.capitalize()} lung']
                assert np.array_equal(mask, expected)
                assert mask.shape == (80, 64)


def test_tbx11k(root, truth):
    raw = root / 'tbx11k'
    cases = {case.number: case for case in truth('tbx11k')}
    counted = 0
    for split in ('train', 'val'):
        path = raw / f'annotations/json/TBX11K_{split}.json'
        content = json.loads(path.read_text())
        assert [c['id'] for c in content['categories']] == [1, 2, 3]
        boxes = defaultdict(list)
        for entry in content['annotations']:
            x, y, w, h = entry['bbox']
            boxes[entry['image_id']].append((x, y, x + w, y + h))
        for entry in content['images']:
            case = cases[entry['id']]
            assert case.split == split
            assert_same(pixels(raw / 'imgs' / entry['file_name']), case)
            expected = [
                box
                for name, box in case.phantom.boxes
                if name in ('Nodule', 'Mass', 'Consolidation')
            ]
            assert boxes[case.number] == expected
            folder = entry['file_name'].split('/')[0]
            assert (folder == 'tb') == bool(expected)
            assert (folder == 'health') == (not case.findings)
            counted += 1
    assert counted == len(cases)
    assert len(list((raw / 'imgs/test').iterdir())) == 2


def test_node21(root, truth):
    folder = root / 'node21/cxr_images/proccessed_data'
    rows = table(folder / 'metadata.csv')
    assert list(rows[0]) == [
        '', 'height', 'img_name', 'label', 'width', 'x', 'y'
    ]  # fmt: skip
    groups = grouped(rows, 'img_name')
    for (name, group), case in zip(groups.items(), truth('node21')):
        header, values = (
            (folder / 'images' / name).read_bytes().split(b'LOCAL\n', 1)
        )
        if b'CompressedData = True' in header:
            values = zlib.decompress(values)
        image = np.frombuffer(values, '<u2').reshape(SIZE, SIZE) // 16
        assert_same(image, case)
        boxes = [box for n, box in case.phantom.boxes if n == 'Nodule']
        assert name[0] == ('n' if boxes else 'c')
        found = []
        for row in group:
            x, y, w, h = (int(row[k]) for k in ('x', 'y', 'width', 'height'))
            found.append((x, y, x + w, y + h))
            assert row['label'] == str(int(bool(boxes)))
        assert found == (boxes or [(0, 0, 0, 0)])


def test_rsna(root, truth):
    raw = root / 'rsna'
    boxes = grouped(table(raw / 'stage_2_train_labels.csv'), 'patientId')
    classes = grouped(
        table(raw / 'stage_2_detailed_class_info.csv'), 'patientId'
    )
    names = json.loads(
        (raw / 'pneumonia-challenge-dataset-mappings_2018.json')
        .read_text()
    )  # fmt: skip
    cases = truth('rsna')
    seen = set()
    for entry, case in zip(names, cases, strict=True):
        name = entry['subset_img_id']
        data = pydicom.dcmread(raw / f'stage_2_train_images/{name}.dcm')
        image = data.pixel_array.astype(int)
        if data.PhotometricInterpretation == 'MONOCHROME1':
            image = 255 - image
        assert_same(image, case, lossy=True)
        assert data.file_meta.TransferSyntaxUID == '1.2.840.10008.1.2.4.50'
        assert data.PatientSex == case.sex
        assert int(entry['img_id'][:8]) == 20000 + case.patient
        found = [
            tuple(int(row[k]) for k in ('x', 'y', 'width', 'height'))
            for row in boxes[name]
            if row['Target'] == '1'
        ]
        assert found == [
            (x1, y1, x2 - x1, y2 - y1)
            for n, (x1, y1, x2, y2) in case.phantom.boxes
            if n in ('Consolidation', 'Mass')
        ]
        (label,) = {row['class'] for row in classes[name]}
        seen.add(label)
        assert (label == 'Lung Opacity') == bool(found)
        assert (label == 'Normal') == (not case.phantom.boxes)
    assert len(seen) == 3


def test_covidx(root, truth):
    raw = root / 'covidx'
    cases = iter(truth('covidx'))
    labels = set()
    for split in ('train', 'test'):
        for line in (raw / f'{split}.txt').read_text().splitlines():
            case = next(cases)
            patient, name, label, _ = line.split(' ')
            assert (int(patient), split) == (case.patient, case.split)
            lossy = not name.endswith('png')
            assert_same(pixels(raw / split / name), case, lossy)
            labels.add(label)
            if not case.findings:
                assert label == 'normal'
    assert next(cases, None) is None
    assert labels == {'normal', 'pneumonia', 'COVID-19'}


@pytest.mark.parametrize(
    'name, rows, column, images',
    [
        ('siim_acr', 'train-rle.csv', 'ImageId', 'dicom-images-train'),
        ('candid_ptx', 'Pneumothorax_reports.csv', 'SOPInstanceUID',
         'dataset'),
    ],
)  # fmt: skip
def test_pneumothorax_masks(root, truth, name, rows, column, images):
    raw = root / name
    codes = grouped(table(raw / rows), column)
    files = {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): (
            path
        )
        for path in (raw / images).rglob('*.dcm')
    }
    cases = truth(name)
    assert len(files) == len(cases) + (name == 'siim_acr')
    positive = 0
    for (image, group), case in zip(codes.items(), cases, strict=True):
        data = pydicom.dcmread(files[image])
        if name == 'siim_acr':
            assert_same(data.pixel_array.astype(int), case, lossy=True)
        assert (data.Rows, data.Columns) == (SIZE, SIZE)
        flat = np.zeros(SIZE * SIZE, int)
        for row in group:
            key = ' EncodedPixels' if name == 'siim_acr' else 'EncodedPixels'
            if row[key] == '-1':
                assert len(group) == 1
                continue
            numbers = [int(number) for number in row[key].split()]
            position = 0
            for gap, length in zip(numbers[::2], numbers[1::2]):
                position += gap
                flat[position : position + length] += 1
                position += length
        mask = flat.reshape(SIZE, SIZE).T
        expected = case.phantom.masks.get('Pneumothorax', np.zeros_like(mask))
        assert np.array_equal(mask > 0, expected)
        positive += bool(expected.any())
    assert 0 < positive < len(cases)


def test_chestx_det(root, truth):
    raw = root / 'chestx_det'
    entries = []
    for split in ('train', 'test'):
        text = (raw / f'ChestX_Det_{split}.json').read_text()
        entries += [(split, entry) for entry in json.loads(text)]
    for (split, entry), case in zip(entries, truth('chestx_det'), strict=True):
        assert split == case.split
        image = raw / f'{split}_data' / entry['file_name']
        assert_same(pixels(image), case)
        masks = defaultdict(lambda: np.zeros((SIZE, SIZE), np.uint8))
        for name, box, polygon in zip(
            entry['syms'], entry['boxes'], entry['polygons'], strict=True
        ):
            points = np.array(polygon)
            assert box == [*points.min(0), *points.max(0)]
            cv2.fillPoly(masks[name], [points], 1)
        assert set(masks) == {
            name for name in CHESTX_DET if means(name, case.findings)
        }
        for name in ('Mass', 'Consolidation', 'Cardiomegaly'):
            if name in masks:
                both = masks[name] & case.phantom.masks[name]
                either = masks[name] | case.phantom.masks[name]
                assert both.sum() > 0.9 * either.sum()


def test_jsrt(root, truth):
    raw = root / 'jsrt'
    images = list((raw / 'All247images').iterdir())
    cases = truth('jsrt')
    assert len(images) == len(cases)
    numbers = dict(JPCLN=0, JPCNN=0)
    for case in cases:
        prefix = 'JPCLN' if 'Nodule' in case.findings else 'JPCNN'
        numbers[prefix] += 1
        name = f'{prefix}{numbers[prefix]:03d}'
        path = raw / f'All247images/{name}.IMG'
        values = np.fromfile(path, '>u2').reshape(SIZE, SIZE)
        assert_same((4095 - values.astype(int)) // 16, case)
        fold = 1 if numbers[prefix] % 2 else 2
        folder = raw / f'scratch/fold{fold}/masks'
        for structure in ('heart', 'left lung', 'right clavicle'):
            mask = (
                np.asarray(Image.open(folder / structure / f'{name}.gif')) > 0
            )
            wanted = case.phantom.masks | case.phantom.bones
            if structure.capitalize() in wanted:
                expected = wanted[structure.capitalize()][::2, ::2]
                assert np.array_equal(mask, expected)
            else:
                assert not mask.any()


def test_vindr_ribcxr(root, truth):
    raw = root / 'vindr_ribcxr'
    cases = iter(truth('vindr_ribcxr'))
    for split in ('train', 'val'):
        text = (
            raw / f'Annotations/Vindr_RibCXR_{split}_mask.json'
        ).read_text()
        content = json.loads(text)
        assert list(content) == ['img', *RIBS]
        for number, name in content['img'].items():
            case = next(cases)
            assert_same(pixels(raw / name.replace('data/', 'Data/')), case)
            for rib in RIBS:
                points = content[rib][number]
                expected = case.phantom.bones.get(rib)
                if points == 'None':
                    assert expected is None
                    continue
                mask = np.zeros((80, SIZE), np.uint8)
                corners = [(point['x'], point['y']) for point in points]
                cv2.fillPoly(mask, [np.array(corners)], 1)
                # A rib that the spine or the border cuts has small parts.
                assert (mask & expected).sum() > 0.6 * expected.sum()
    assert next(cases, None) is None
