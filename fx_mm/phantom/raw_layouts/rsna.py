"""RSNA Pneumonia Detection Challenge."""

import json
from pathlib import Path
from typing import Any

from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_cases import RawCase, corner_and_size
from fx_mm.phantom.raw_image_files import dicom_metadata, save_dicom, sop_uid
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines, write_table


@raw_layout('rsna', hospital='b', several_studies=True)
def write_rsna(root: Path, cases: list[RawCase]) -> None:
    """Write JPEG-compressed DICOM, boxes, classes and the NIH names."""
    boxes, classes, names = [], [], []
    for case in cases:
        groups = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
        name = '-'.join(case.key[i:j] for i, j in groups)
        save_dicom(
            root / f'stage_2_train_images/{name}.dcm',
            case.phantom.image,
            sop_uid(case),
            dicom_metadata(case) | dict(PatientID=name),
            inverse=case.number % 8 == 0,
            codec='jpeg',
        )
        own = [
            corner_and_size(box)
            for finding, box in case.phantom.boxes
            if means('Lung Opacity', {finding})
        ]
        label = 'No Lung Opacity / Not Normal'
        if own:
            label = 'Lung Opacity'
        elif not case.phantom.boxes:
            label = 'Normal'
        rows: list[list[Any]] = [*own] or [4 * [None]]
        for box in rows:
            boxes.append([name, *box, int(bool(own))])
            classes.append([name, label])
        nih = f'{20000 + case.patient:08d}_{case.number:03d}.png'
        names.append(dict(subset_img_id=name, img_id=nih, orig_labels=[]))
    write_table(
        root / 'stage_2_train_labels.csv',
        ['patientId', 'x', 'y', 'width', 'height', 'Target'],
        boxes,
    )
    write_table(
        root / 'stage_2_detailed_class_info.csv',
        ['patientId', 'class'],
        classes,
    )
    write_lines(
        root / 'pneumonia-challenge-dataset-mappings_2018.json',
        [json.dumps(names)],
    )
