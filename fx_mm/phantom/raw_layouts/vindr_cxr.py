"""VinDr-CXR, whose images three radiologists read, with CheXmask's organs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import dicom_metadata, save_dicom, sop_uid
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_table
from fx_mm.preparation.vindr import GLOBAL, LOCAL

FORMATS: tuple[dict[str, Any], ...] = (
    dict(bits=12),
    dict(bits=12, inverse=True),
    dict(bits=16, codec='jpeg2000'),
    dict(bits=14, inverse=True, codec='jpeg2000'),
    dict(bits=8),
)
"""How the files are encoded, in turn."""
MISS = 0.25
"""Probability that one of the readers misses a finding."""
Reading = list[tuple[str, list[int]]]
"""What one reader draws: findings and boxes."""


def read_thrice(case: RawCase) -> list[Reading]:
    """Draw what three readers see: findings and jittered boxes.

    At most one of them misses a given finding, so at least two of three see
    each.
    """
    rng = np.random.default_rng(crc32(case.key.encode()))
    height, width = case.phantom.image.shape
    edge = [width, height, width, height]
    readings: list[Reading] = [[], [], []]
    for finding, box in case.phantom.boxes:
        missing = rng.integers(3) if rng.random() < MISS else None
        reach = 0.05 * np.tile(np.subtract(box[2:], box[:2]), 2)
        for reader, reading in enumerate(readings):
            drawn = np.rint(box + rng.uniform(-reach, reach))
            if reader != missing:
                drawn = np.clip(drawn, 0, edge).astype(int)
                reading.append((finding, drawn.tolist()))
    return readings


def _rows(boxes: Iterable[tuple[str, Sequence[int]]]) -> list[list[Any]]:
    """Return (class, box) of each class that a finding stands for."""
    return [
        [name, *box]
        for finding, box in boxes
        for name in LOCAL
        if means(name, {finding})
    ] or [['No finding', *4 * [None]]]


def _labels(findings: set[str]) -> list[int]:
    return [int(means(name, findings)) for name in (*LOCAL, *GLOBAL)]


@raw_layout(
    'vindr_cxr',
    'vindr_findings',
    'vindr_organs',
    hospital='a',
    splits=('train', 'test'),
    tall=True,
)
def write_vindr_cxr(root: Path, cases: list[RawCase]) -> None:
    """Write DICOM, labels and boxes of VinDr-CXR, and CheXmask's organs."""
    labels: dict[str, list[list[Any]]] = dict(train=[], test=[])
    boxes: dict[str, list[list[Any]]] = dict(train=[], test=[])
    organs = []
    for case in cases:
        name, image = case.key, case.phantom.image
        metadata = dicom_metadata(case)
        save_dicom(
            root / case.split / f'{name}.dicom',
            image,
            sop_uid(case),
            {key: metadata[key] for key in ('PatientSex', 'PatientAge')},
            **FORMATS[case.number % len(FORMATS)],
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
            encode_runs(case.phantom.masks[organ], False, False)
            for organ in ('Left lung', 'Right lung', 'Heart')
        ]
        # The estimated overlap; some segmentations are worse than others.
        quality = 0.95 - 0.04 * (case.number % 7)
        organs.append(
            [name, quality + 0.02, quality, '', *codes, *image.shape]
        )
    corners = ['class_name', 'x_min', 'y_min', 'x_max', 'y_max']
    for split, reader_column in (('train', ['rad_id']), ('test', [])):
        write_table(
            root / f'annotations/image_labels_{split}.csv',
            ['image_id', *reader_column, *LOCAL, *GLOBAL],
            labels[split],
        )
        write_table(
            root / f'annotations/annotations_{split}.csv',
            ['image_id', *reader_column, *corners],
            boxes[split],
        )
    write_table(
        root / 'OriginalResolution/VinDr-CXR.csv',
        ['image_id', 'Dice RCA (Max)', 'Dice RCA (Mean)', 'Landmarks']
        + ['Left Lung', 'Right Lung', 'Heart', 'Height', 'Width'],
        organs,
    )
