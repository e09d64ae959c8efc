"""Twins of releases with boxes of one annotation each."""

import json
from pathlib import Path

from fx_mm.phantom.raw_layouts.cases import Case
from fx_mm.phantom.raw_layouts.image_files import (
    dicom_facts,
    save_dicom,
    save_image,
    save_meta_image,
    uid,
)
from fx_mm.phantom.raw_layouts.meanings import means
from fx_mm.phantom.raw_layouts.tables import write_lines, write_table
from fx_mm.phantom.raw_layouts.twins import twin


def corner_size(box: tuple) -> list[int]:
    """Turn (x1, y1, x2, y2), the last two exclusive, into x, y, w, h."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


@twin('rsna', hospital='b', several=True)
def write_rsna(root: Path, cases: list[Case]) -> None:
    """JPEG-compressed DICOM, boxes, classes and the images' NIH names."""
    boxes, classes, names = [], [], []
    for case in cases:
        parts = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
        name = '-'.join(case.key[i:j] for i, j in parts)
        save_dicom(
            root / f'stage_2_train_images/{name}.dcm',
            case.phantom.image,
            uid(case),
            dicom_facts(case) | dict(PatientID=name),
            inverse=case.number % 8 == 0,
            codec='jpeg',
        )
        own = [
            corner_size(box)
            for finding, box in case.phantom.boxes
            if means('Lung Opacity', {finding})
        ]
        label = 'No Lung Opacity / Not Normal'
        if own:
            label = 'Lung Opacity'
        elif not case.phantom.boxes:
            label = 'Normal'
        for box in own or [4 * [None]]:
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


@twin('node21', hospital='c', focus='Nodule')
def write_node21(root: Path, cases: list[Case]) -> None:
    """MetaImage files, n0001.mha with and c0001.mha without nodules."""
    folder = root / 'cxr_images/proccessed_data'
    rows = []
    counts = dict(n=0, c=0)
    for case in cases:
        boxes = [
            corner_size(box)
            for finding, box in case.phantom.boxes
            if finding == 'Nodule'
        ]
        letter = 'n' if boxes else 'c'
        counts[letter] += 1
        name = f'{letter}{counts[letter]:04d}.mha'
        save_meta_image(
            folder / 'images' / name,
            case.phantom.image,
            compress=case.number % 2 == 0,
        )
        for x, y, width, height in boxes or [(0, 0, 0, 0)]:
            rows.append([height, name, int(bool(boxes)), width, x, y])
    write_table(
        folder / 'metadata.csv',
        ['', 'height', 'img_name', 'label', 'width', 'x', 'y'],
        [[index, *row] for index, row in enumerate(rows)],
    )


@twin('tbx11k', hospital='a', parts=('train', 'val'), unlabelled=2)
def write_tbx11k(root: Path, cases: list[Case]) -> None:
    """COCO files of three kinds of tuberculosis; test without labels."""
    kinds = dict(Consolidation=1, Nodule=2, Mass=3)
    files = dict(train=([], []), val=([], []))
    for case in cases:
        found = [pair for pair in case.phantom.boxes if pair[0] in kinds]
        folder = 'tb' if found else 'sick' if case.findings else 'health'
        if case.split == 'unlabelled':
            folder = 'test'
        name = f'{folder}/{folder[0]}{case.number:04d}.png'
        save_image(root / 'imgs' / name, case.phantom.image, 'RGB')
        if case.split == 'unlabelled':
            continue
        images, annotations = files[case.split]
        height, width = case.phantom.image.shape
        size = dict(width=width, height=height)
        images.append(dict(id=case.number, file_name=name, **size))
        for finding, box in found:
            x, y, w, h = map(float, corner_size(box))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=case.number,
                    category_id=kinds[finding],
                    iscrowd=0,
                    area=int(w * h),
                    bbox=[x, y, w, h],
                    **size,
                )
            )
    names = ('Active', 'ObsoletePulmonary', 'Pulmonary')
    categories = [
        dict(
            id=number,
            name=f'{name}Tuberculosis',
            supercategory='Tuberculosis',
        )
        for number, name in enumerate(names, start=1)
    ]
    for part, (images, annotations) in files.items():
        content = dict(
            categories=categories, images=images, annotations=annotations
        )
        write_lines(
            root / f'annotations/json/TBX11K_{part}.json',
            [json.dumps(content)],
        )
