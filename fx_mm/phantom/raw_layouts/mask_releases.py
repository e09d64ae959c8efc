"""Twins of releases with masks."""

import json
from pathlib import Path

import numpy as np

from fx_mm.phantom.raw_layouts.cases import Case
from fx_mm.phantom.raw_layouts.image_files import (
    dicom_facts,
    save_dicom,
    save_image,
    save_raw,
    uid,
)
from fx_mm.phantom.raw_layouts.mask_codes import outline, run_lengths
from fx_mm.phantom.raw_layouts.meanings import means
from fx_mm.phantom.raw_layouts.tables import write_lines, write_table
from fx_mm.phantom.raw_layouts.twins import twin

CHESTX_DET = (
    'Atelectasis', 'Calcification', 'Cardiomegaly', 'Consolidation',
    'Diffuse Nodule', 'Effusion', 'Emphysema', 'Fibrosis', 'Fracture',
    'Mass', 'Nodule', 'Pleural Thickening', 'Pneumothorax',
)  # fmt: skip
RIBS = tuple(f'{side}{number}' for side in 'RL' for number in range(1, 11))


def _parts(case: Case, finding: str) -> list[np.ndarray]:
    """Give the masks of the instances of a finding."""
    return [
        mask
        for (name, _), mask in zip(case.phantom.boxes, case.phantom.instances)
        if name == finding
    ]


@twin('siim_acr', hospital='b', focus='Pneumothorax', unlabelled=1)
def write_siim_acr(root: Path, cases: list[Case]) -> None:
    """JPEG-compressed DICOM; relative run lengths down the columns."""
    rows = []
    for case in cases:
        name = uid(case)
        save_dicom(
            root / f'dicom-images-train/{name}.1/{name}.2/{name}.dcm',
            case.phantom.image,
            name,
            dicom_facts(case),
            codec='jpeg',
        )
        if case.split == 'unlabelled':
            continue
        parts = _parts(case, 'Pneumothorax')
        codes = [run_lengths(part, True, True) for part in parts]
        rows += [[name, code] for code in codes or ['-1']]
    write_table(root / 'train-rle.csv', ['ImageId', ' EncodedPixels'], rows)


@twin('candid_ptx', hospital='a', focus='Pneumothorax')
def write_candid_ptx(root: Path, cases: list[Case]) -> None:
    """DICOM; relative run lengths down the columns; reports."""
    rows = []
    for case in cases:
        name = uid(case)
        save_dicom(
            root / f'dataset/{name}.dcm',
            case.phantom.image,
            name,
            dicom_facts(case),
            bits=10 if case.number % 2 else 8,
        )
        parts = _parts(case, 'Pneumothorax')
        codes = [run_lengths(part, True, True) for part in parts]
        text = f'Findings: {", ".join(sorted(case.findings)) or "none"}.'
        rows += [[name, code, text] for code in codes or ['-1']]
    write_table(
        root / 'Pneumothorax_reports.csv',
        ['SOPInstanceUID', 'EncodedPixels', 'Report'],
        rows,
    )


@twin('chestx_det', hospital='c', parts=('train', 'test'))
def write_chestx_det(root: Path, cases: list[Case]) -> None:
    """A polygon and its bounding box for each class of each instance."""
    entries = dict(train=[], test=[])
    for case in cases:
        name = f'{36000 + case.number}.png'
        save_image(root / f'{case.split}_data' / name, case.phantom.image)
        entry = dict(file_name=name, syms=[], boxes=[], polygons=[])
        for (finding, _), mask in zip(
            case.phantom.boxes, case.phantom.instances
        ):
            polygon = outline(mask)
            low, high = np.min(polygon, axis=0), np.max(polygon, axis=0)
            for class_name in CHESTX_DET:
                if means(class_name, {finding}):
                    entry['syms'].append(class_name)
                    entry['boxes'].append([*low.tolist(), *high.tolist()])
                    entry['polygons'].append(polygon)
        entries[case.split].append(entry)
    for part, content in entries.items():
        write_lines(root / f'ChestX_Det_{part}.json', [json.dumps(content)])


@twin('montgomery', hospital='c', tall=True)
def write_montgomery(root: Path, cases: list[Case]) -> None:
    """One-bit masks of the left and the right lung, clinical readings."""
    for case in cases:
        sick = means('Tuberculosis', case.findings)
        name = f'MCUCXR_{case.number:04d}_{int(sick)}'
        save_image(root / f'CXR_png/{name}.png', case.phantom.image)
        for side in ('left', 'right'):
            mask = case.phantom.masks[f'{side.capitalize()} lung']
            save_image(root / f'ManualMask/{side}Mask/{name}.png', mask, '1')
        write_lines(
            root / f'ClinicalReadings/{name}.txt',
            [f"Patient's Sex: {case.sex}", f"Patient's Age: {case.age:03d}Y"]
            + ['infiltrate' if sick else 'normal'],
        )


@twin('jsrt', hospital='c', bones=True)
def write_jsrt(root: Path, cases: list[Case]) -> None:
    """Raw 12-bit images; GIF masks of half their size in two folds.

    Officially the edge is 2048; here it is smaller, but square as well.
    """
    numbers = dict(JPCLN=0, JPCNN=0)
    for case in cases:
        prefix = 'JPCLN' if 'Nodule' in case.findings else 'JPCNN'
        numbers[prefix] += 1
        name = f'{prefix}{numbers[prefix]:03d}'
        save_raw(root / f'All247images/{name}.IMG', case.phantom.image)
        masks = case.phantom.masks | case.phantom.bones
        fold = 1 if numbers[prefix] % 2 else 2
        for part in ('Heart', 'Left lung', 'Right lung', 'Left clavicle',
                     'Right clavicle'):  # fmt: skip
            empty = np.zeros_like(masks['Heart'])
            save_image(
                root / f'scratch/fold{fold}/masks/{part.lower()}/{name}.gif',
                masks.get(part, empty)[::2, ::2],
            )


@twin('vindr_ribcxr', hospital='a', parts=('train', 'test'), tall=True,
      bones=True)  # fmt: skip
def write_vindr_ribcxr(root: Path, cases: list[Case]) -> None:
    """Polygons of 20 ribs: rib to image number to points or "None"."""
    files = dict(train='train', test='val')
    tables = {
        part: {name: {} for name in ('img', *RIBS)}
        for part in ('train', 'val')
    }
    for case in cases:
        part = files[case.split]
        table = tables[part]
        number = str(len(table['img']))
        name = f'{part}/img/VinDr_RibCXR_{part}_{int(number):03d}.png'
        save_image(root / 'Data' / name, case.phantom.image)
        table['img'][number] = f'data/{name}'
        for rib in RIBS:
            points = 'None'
            if rib in case.phantom.bones:
                corners = outline(case.phantom.bones[rib])
                points = [dict(x=x, y=y) for x, y in corners]
            table[rib][number] = points
    for part, table in tables.items():
        write_lines(
            root / f'Annotations/Vindr_RibCXR_{part}_mask.json',
            [json.dumps(table)],
        )
