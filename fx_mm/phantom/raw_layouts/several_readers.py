"""Twin of VinDr-CXR, whose images three radiologists read."""

from pathlib import Path
from zlib import crc32

import numpy as np

from fx_mm.phantom.raw_layouts.cases import Case
from fx_mm.phantom.raw_layouts.image_files import dicom_facts, save_dicom, uid
from fx_mm.phantom.raw_layouts.mask_codes import run_lengths
from fx_mm.phantom.raw_layouts.meanings import means
from fx_mm.phantom.raw_layouts.tables import write_table
from fx_mm.phantom.raw_layouts.twins import twin

LOCAL = (
    'Aortic enlargement', 'Atelectasis', 'Calcification', 'Cardiomegaly',
    'Clavicle fracture', 'Consolidation', 'Edema', 'Emphysema',
    'Enlarged PA', 'ILD', 'Infiltration', 'Lung Opacity', 'Lung cavity',
    'Lung cyst', 'Mediastinal shift', 'Nodule/Mass', 'Pleural effusion',
    'Pleural thickening', 'Pneumothorax', 'Pulmonary fibrosis',
    'Rib fracture', 'Other lesion',
)  # fmt: skip
GLOBAL = (
    'COPD', 'Lung tumor', 'Pneumonia', 'Tuberculosis', 'Other diseases',
    'No finding',
)  # fmt: skip
FORMS = (
    dict(bits=12),
    dict(bits=12, inverse=True),
    dict(bits=16, codec='jpeg2000'),
    dict(bits=14, inverse=True, codec='jpeg2000'),
    dict(bits=8),
)
"""How the files are encoded, in turn."""
MISS = 0.25
"""Probability that one of the readers misses a finding."""


def read_thrice(case: Case) -> list[list]:
    """Give what three readers draw: (finding, box) lists, boxes jittered.

    At most one of them misses a given finding, so at least two of three see
    each.
    """
    rng = np.random.default_rng(crc32(case.key.encode()))
    height, width = case.phantom.image.shape
    edge = [width, height, width, height]
    readings = [[], [], []]
    for finding, box in case.phantom.boxes:
        missing = rng.integers(3) if rng.random() < MISS else None
        reach = 0.05 * np.tile(np.subtract(box[2:], box[:2]), 2)
        for reader, reading in enumerate(readings):
            drawn = np.rint(box + rng.uniform(-reach, reach))
            if reader != missing:
                drawn = np.clip(drawn, 0, edge).astype(int)
                reading.append((finding, drawn.tolist()))
    return readings


def _rows(boxes: list) -> list[list]:
    """Give (class, box) of each class that a finding stands for."""
    return [
        [name, *box]
        for finding, box in boxes
        for name in LOCAL
        if means(name, {finding})
    ] or [['No finding', *4 * [None]]]


def _labels(findings: set) -> list[int]:
    return [int(means(name, findings)) for name in (*LOCAL, *GLOBAL)]


@twin(
    'vindr_cxr',
    'vindr_findings',
    'vindr_organs',
    hospital='a',
    parts=('train', 'test'),
    tall=True,
)
def write_vindr_cxr(root: Path, cases: list[Case]) -> None:
    """DICOM, labels and boxes of VinDr-CXR, and CheXmask's organs."""
    labels = dict(train=[], test=[])
    boxes = dict(train=[], test=[])
    organs = []
    for case in cases:
        name, image = case.key, case.phantom.image
        save_dicom(
            root / case.split / f'{name}.dicom',
            image,
            uid(case),
            dict(
                PatientSex=dicom_facts(case)['PatientSex'],
                PatientAge=dicom_facts(case)['PatientAge'],
            ),
            **FORMS[case.number % len(FORMS)],
        )
        if case.split == 'train':
            for number, reading in enumerate(read_thrice(case)):
                reader = f'R{(case.number + number) % 17 + 1}'
                found = {finding for finding, _ in reading}
                labels['train'].append([name, reader, *_labels(found)])
                boxes['train'] += [
                    [name, reader, *row] for row in _rows(reading)
                ]
        else:
            labels['test'].append([name, *_labels(case.findings)])
            boxes['test'] += [
                [name, *row] for row in _rows(case.phantom.boxes)
            ]
        codes = [
            run_lengths(case.phantom.masks[organ], False, False)
            for organ in ('Left lung', 'Right lung', 'Heart')
        ]
        # The estimated overlap; some segmentations are worse than others.
        quality = 0.95 - 0.04 * (case.number % 7)
        organs.append(
            [name, quality + 0.02, quality, '', *codes, *image.shape]
        )
    corners = ['class_name', 'x_min', 'y_min', 'x_max', 'y_max']
    for part, reader in (('train', ['rad_id']), ('test', [])):
        write_table(
            root / f'annotations/image_labels_{part}.csv',
            ['image_id', *reader, *LOCAL, *GLOBAL],
            labels[part],
        )
        write_table(
            root / f'annotations/annotations_{part}.csv',
            ['image_id', *reader, *corners],
            boxes[part],
        )
    write_table(
        root / 'OriginalResolution/VinDr-CXR.csv',
        ['image_id', 'Dice RCA (Max)', 'Dice RCA (Mean)', 'Landmarks']
        + ['Left Lung', 'Right Lung', 'Heart', 'Height', 'Width'],
        organs,
    )
