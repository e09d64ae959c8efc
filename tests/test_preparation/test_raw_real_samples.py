"""The readers of raw datasets on real rows of the official files.

Runs where FX_MM_REAL_DATA names the folder of the samples.
"""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from raw_helpers import by_name, read

from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.preparation.raw.chexpert import CLASSES

REAL = Path(os.environ.get('FX_MM_REAL_DATA', 'none'))
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not REAL.is_dir(), reason='FX_MM_REAL_DATA is not set'),
]


def rows(path):
    with open(REAL / path, encoding='utf-8-sig', newline='') as file:
        return list(csv.DictReader(file))


def link(root, **files):
    """Lay sample files where a raw dataset has them."""
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(REAL / source)
    return root


def test_siim_codes_are_drawn_and_written_again():
    entries = read('siim_acr', REAL / 'siim')
    samples = rows('siim/train-rle.csv')
    assert len(entries) == len({row['ImageId'] for row in samples})
    empty = sum(row[' EncodedPixels'].strip() == '-1' for row in samples)
    assert sum(not e.labels['Pneumothorax'] for e in entries) == empty
    drawn = 0
    for entry in entries:
        for code in entry.masks['Pneumothorax']:
            mask = code.draw(1024, 1024)
            assert encode_runs(mask, True, True) == code.text
            # a pneumothorax is small; a wrong reading smears it out
            assert 0 < mask.mean() < 0.35
            drawn += 1
    assert drawn == len(samples) - empty


def test_siim_masks_lie_in_two_lungs_only_when_read_down_the_columns():
    drawn = np.zeros((1024, 1024))
    for entry in read('siim_acr', REAL / 'siim'):
        for code in entry.masks['Pneumothorax']:
            drawn += code.draw(1024, 1024)

    def symmetry(seen):
        return np.corrcoef(seen.ravel(), seen[:, ::-1].ravel())[0, 1]

    assert symmetry(drawn) > 0.5 > symmetry(drawn.T) + 0.2


def test_rsna_boxes_lie_in_the_image(tmp_path):
    samples = rows('rsna/stage_2_train_labels.csv')
    boxed = {r['patientId'] for r in samples if r['Target'] == '1'}
    classes = ['patientId,class\n']
    for image in sorted({r['patientId'] for r in samples}):
        name = 'Lung Opacity' if image in boxed else 'Normal'
        classes.append(f'{image},{name}\n')
    name = 'stage_2_train_labels.csv'
    link(tmp_path, **{name: f'rsna/{name}'})
    path = tmp_path / 'stage_2_detailed_class_info.csv'
    path.write_text(''.join(classes))
    found = read('rsna', tmp_path)
    assert sum(len(e.boxes) for e in found) == 194
    assert {e.source.stem for e in found if e.boxes} == boxed
    corners = np.array([box[1:] for e in found for box in e.boxes])
    assert corners.min() >= 0 and corners.max() <= 1024


def test_tbx11k_reads_the_official_json(tmp_path):
    official = 'tbx11k/annotations/json/TBX11K_train.json'
    folder = 'annotations/json'
    link(tmp_path, **{f'{folder}/TBX11K_train.json': official})
    # the sample lacks the validation split
    validation = tmp_path / folder / 'TBX11K_val.json'
    validation.write_text('{"images": [], "annotations": []}')
    found = by_name('tbx11k', tmp_path)
    assert {n: len(e.boxes) for n, e in found.items()} == {
        'tb/tb0005.png': 1,
        'tb/tb0007.png': 2,
        'health/h0001.png': 0,
    }
    labels = [e.labels['Tuberculosis'] for e in found.values()]
    assert labels == [1, 1, 0]


def test_chexpert_reads_the_official_tables(tmp_path):
    folder = 'CheXpert-v1.0-small'
    link(
        tmp_path,
        **{
            f'{folder}/train.csv': 'chexpert/train.csv',
            f'{folder}/valid.csv': 'chexpert/train.csv',
            'CheXpert_test_official.csv': (
                'chexpert/CheXpert_test_official.csv'
            ),
        },
    )
    found = read('chexpert', tmp_path)
    samples = rows('chexpert/train.csv')
    tested = rows('chexpert/CheXpert_test_official.csv')
    splits = Counter(e.split for e in found)
    assert splits == dict(
        train=len(samples), val=len(samples), test=len(tested)
    )
    for entry, row in zip(found, samples):
        assert entry.name == row['Path']
        assert {'Female': 'F', 'Male': 'M'}[row['Sex']] == entry.metadata[
            'sex'
        ]
        assert entry.metadata['age'] == int(row['Age'])
        for name in CLASSES:
            value = entry.labels[name]
            assert value == (float(row[name]) if row[name] else None)


def test_mimic_reads_columns_by_their_name(tmp_path):
    samples = rows('mimic/mimic-cxr-2.0.0-test.csv')
    labels = sorted(CLASSES)
    tables = dict(
        split=('dicom_id', 'study_id', 'subject_id', 'split'),
        chexpert=('subject_id', 'study_id', *labels),
    )
    for name, columns in tables.items():
        path = tmp_path / f'mimic-cxr-2.0.0-{name}.csv'
        with open(path, 'w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([row[c] for c in columns] for row in samples)
    found = by_name('mimic_cxr', tmp_path)
    assert len(found) == len(samples)
    for row in samples:
        entry = found[row['image_path']]
        assert entry.split == 'test' and entry.patient == row['subject_id']
        for name in labels:
            value = float(row[name]) if row[name] else None
            assert entry.labels[name] == value


def test_nih14_agrees_with_the_published_list(tmp_path):
    names = [r['Image Index'] for r in rows('nih/Data_Entry_2017_v2020.csv')]
    table = 'Data_Entry_2017_v2020.csv'
    link(
        tmp_path,
        **{
            table: f'nih/{table}',
            'BBox_List_2017.csv': 'nih/BBox_List_2017.csv',
        },
    )
    (tmp_path / 'train_val_list.txt').write_text('\n'.join(names[:200]))
    (tmp_path / 'test_list.txt').write_text('\n'.join(names[200:]))
    found = by_name('nih14', tmp_path)
    assert len(found) == len(names)
    assert Counter(e.split for e in found.values())['train'] == 200
    lines = (REAL / 'nih/Xray14_train_official.txt').read_text().split('\n')
    compared = 0
    for line in filter(None, lines):
        name, *values = line.split()
        if name in found:
            labels = [found[name].labels[c] for c in NIH_LIST]
            assert labels == list(map(int, values))
            compared += 1
    assert compared > 100
    boxed = [e for e in found.values() if e.boxes]
    boxes = np.array([b[1:] for e in boxed for b in e.boxes]).reshape(-1, 4)
    assert (boxes >= 0).all() and (boxes <= 1024.5).all()


NIH_LIST = (
    'Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass',
    'Nodule', 'Pneumonia', 'Pneumothorax', 'Consolidation', 'Edema',
    'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia',
)  # fmt: skip


def test_vindr_labels_agree_with_the_published_list(tmp_path):
    labels = REAL / 'vindr/image_labels_train.csv'
    folder = tmp_path / 'annotations'
    folder.mkdir()
    (folder / labels.name).symlink_to(labels)
    # the sample lacks the test split: take the first row as one
    lines = [row.split(',') for row in labels.read_text().splitlines()]
    text = '\n'.join(','.join([row[0], *row[2:]]) for row in lines[:2])
    (folder / 'image_labels_test.csv').write_text(text)
    found = by_name('vindr_cxr', tmp_path)
    del found[f'test/{lines[1][0]}.png']
    published = REAL / 'vindr/VinDrCXR_train_pe_global_one.txt'
    compared = 0
    for line in published.read_text().splitlines():
        name, *values = line.split()
        entry = found.get(name.replace('train_jpeg', 'train') + '.png')
        if entry is not None:
            classes = ('PE', 'Lung tumor', 'Pneumonia', 'Tuberculosis')
            classes += ('Other diseases', 'No finding')
            assert [entry.labels[c] for c in classes] == list(map(int, values))
            compared += 1
    assert compared == len(found) > 50


@pytest.mark.parametrize('readers', ['fuse', 'all'])
def test_kaggle_boxes_are_fused_by_class(tmp_path, readers):
    link(tmp_path, **{'train.csv': 'vindr/vinbigdata-train.csv'})
    found = read('vindr_findings', tmp_path, readers=readers)
    samples = rows('vindr/vinbigdata-train.csv')
    assert len(found) == len({row['image_id'] for row in samples})
    drawn = Counter(
        row['class_name']
        for row in samples
        if row['class_name'] != 'No finding'
    )
    boxes = Counter(box[0] for entry in found for box in entry.boxes)
    assert set(boxes) == set(drawn)
    assert boxes == drawn if readers == 'all' else boxes <= drawn
    assert any(not entry.boxes for entry in found)


def test_chestx_det_polygons_fill_their_boxes(tmp_path):
    for split in ('train', 'test'):
        link(
            tmp_path,
            **{f'ChestX_Det_{split}.json': 'chestxdet/ChestX_Det_test.json'},
        )
    found = [e for e in read('chestx_det', tmp_path) if e.split == 'test']
    assert len(found) == 60
    compared = 0
    for entry in found:
        names = [box[0] for box in entry.boxes]
        for name, masks in entry.masks.items():
            assert len(masks) == names.count(name)
            boxes = [box for box in entry.boxes if box[0] == name]
            for mask, (_, x1, y1, x2, y2) in zip(masks, boxes):
                ys, xs = mask.draw(1024, 1024).nonzero()
                drawn = [xs.min(), ys.min(), xs.max(), ys.max()]
                compared += np.allclose(drawn, [x1, y1, x2, y2], atol=2)
    assert compared > 0.9 * sum(len(e.boxes) for e in found)
