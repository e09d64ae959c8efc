"""Releases with image labels: tables, lists, or the file's name."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from fx_mm.preparation.entries import Entry, release
from fx_mm.preparation.raw import vindr
from fx_mm.preparation.raw.folders import (
    find,
    find_images,
    find_optional,
    read_lines,
)
from fx_mm.preparation.raw.tables import (
    VALUES,
    Table,
    parse_age,
    parse_box,
    parse_sex,
    parse_value,
)
from fx_mm.preparation.skipped import leave_out
from fx_mm.utils.errors import UserError

CHEXPERT_CLASSES = (
    'No Finding', 'Enlarged Cardiomediastinum', 'Cardiomegaly',
    'Lung Opacity', 'Lung Lesion', 'Edema', 'Consolidation', 'Pneumonia',
    'Atelectasis', 'Pneumothorax', 'Pleural Effusion', 'Pleural Other',
    'Fracture', 'Support Devices',
)  # fmt: skip
NIH14_CLASSES = (
    'Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass',
    'Nodule', 'Pneumonia', 'Pneumothorax', 'Consolidation', 'Edema',
    'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia',
)  # fmt: skip
NIH14_EDGE = 1024
"""Pixels along an edge of the images that NIH's boxes are given for."""
COVIDX_CLASSES = ('normal', 'pneumonia', 'COVID-19')


@release('chexpert', expected=dict(train=223414, val=234, test=668))
def read_chexpert(root: Path) -> Iterator[Entry]:
    """Read CheXpert: its tables of train and valid, and the test set's.

    The test set came years later, under several names; without it there is
    no test split.
    """
    folders = ('CheXpert-v1.0', 'CheXpert-v1.0-small', '.')
    train = find(
        root,
        *(f'{folder}/train.csv' for folder in folders),
        holds='CheXpert-v1.0/train.csv, valid.csv, train/ and valid/',
    )
    valid = find(train.parent, 'valid.csv', holds='train.csv and valid.csv')
    test = find_optional(
        root,
        'CheXpert_test_official.csv',
        *(
            f'{folder}/{name}'
            for folder in folders
            for name in ('test_labels.csv', 'test.csv', 'groundtruth.csv')
        ),
    )
    yield from _read_chexpert_part(root, train, 'train')
    yield from _read_chexpert_part(root, valid, 'val')
    if test is None:
        leave_out(668, 'test images, for want of CheXpert_test_official.csv')
    else:
        yield from _read_chexpert_part(root, test, 'test')


def _read_chexpert_part(root: Path, path: Path, split: str) -> Iterator[Entry]:
    table = Table(path)
    known = ('Sex', 'Age', 'Frontal/Lateral', 'AP/PA')
    columns = [name for name in known if name in table]
    count = len(CHEXPERT_CLASSES)
    find_patient = re.compile(r'patient\d+').search
    small = (root / 'CheXpert-v1.0-small' / 'test').is_dir()
    folder = f'CheXpert-v1.0{"-small" if small else ""}'
    for where, (name, *cells) in table.rows(
        'Path', *CHEXPERT_CLASSES, *columns
    ):
        patient = find_patient(name)
        if patient is None:
            raise UserError(
                f'{where}: the path "{name}" names no patient, such as '
                "patient00001; is the table CheXpert's?"
            )
        if name.startswith('test/'):
            name = f'{folder}/{name}'
        facts = dict(zip(columns, cells[count:]))
        yield Entry(
            name,
            root / name,
            patient[0],
            split,
            labels=_parse_labels(CHEXPERT_CLASSES, cells, where),
            facts=dict(
                sex=parse_sex(facts.get('Sex', '')),
                age=parse_age(facts.get('Age', '')),
                view=facts.get('AP/PA') or facts.get('Frontal/Lateral'),
            ),
        )


@release('mimic_cxr', expected=dict(val=2991, test=5159))
def read_mimic_cxr(root: Path) -> Iterator[Entry]:
    """Read MIMIC-CXR-JPG: labels of the studies, split of the images."""
    tables = 'mimic-cxr-2.0.0-{}.csv'
    holds = (
        f'files/, {tables.format("split")} and {tables.format("chexpert")} '
        '(or .csv.gz)'
    )
    study_table, split_table = (
        Table(find(root, f'mimic-cxr-2.*-{name}.csv', holds=holds))
        for name in ('chexpert', 'split')
    )
    # the same 14 classes as CheXpert's, in another order
    labels = {
        study: _parse_labels(CHEXPERT_CLASSES, cells, where)
        for where, (study, *cells) in study_table.rows(
            'study_id', *CHEXPERT_CLASSES
        )
    }
    metadata = find_optional(root, 'mimic-cxr-2.*-metadata.csv')
    views = {}
    if metadata is not None:
        views = {
            image: view or None
            for _, (image, view) in Table(metadata).rows(
                'dicom_id', 'ViewPosition'
            )
        }
    splits = dict(train='train', validate='val', test='test')
    unlabelled = 0
    for where, (image, study, subject, split) in split_table.rows(
        'dicom_id', 'study_id', 'subject_id', 'split'
    ):
        if split not in splits:
            raise UserError(
                f'{where}: split "{split}" is none of {", ".join(splits)}; '
                'is the file whole?'
            )
        if study not in labels:
            unlabelled += 1
            continue
        name = f'files/p{subject[:2]}/p{subject}/s{study}/{image}.jpg'
        yield Entry(
            name,
            root / name,
            subject,
            splits[split],
            labels=labels[study],
            facts=dict(view=views.get(image)),
        )
    leave_out(
        unlabelled,
        f'images of studies without a row in {study_table.path.name}',
    )


@release(
    'nih14',
    hold_out=0.1,
    box_shares=dict(train=0.7, val=0.1, test=0.2),
    expected=dict(images=112120, test=25596),
)
def read_nih14(root: Path) -> Iterator[Entry]:
    """Read ChestX-ray14: its table, two lists, and the boxes of 880 images.

    Its boxes are in pixels of the official images (1024x1024); in a copy
    with smaller images they are reduced as those are.
    """
    holds = (
        'images/, Data_Entry_2017_v2020.csv, train_val_list.txt, '
        'test_list.txt and BBox_List_2017.csv'
    )
    table = Table(
        find(
            root,
            'Data_Entry_2017_v2020.csv',
            'Data_Entry_2017.csv',
            holds=holds,
        )
    )
    splits = {}
    for file, split in (
        ('train_val_list.txt', 'train'),
        ('test_list.txt', 'test'),
    ):
        for _, name in read_lines(find(root, file, holds=holds)):
            splits[name] = split
    boxes = _read_nih14_boxes(find_optional(root, 'BBox_List_2017.csv'))
    unlisted, listed = 0, len(splits)
    for where, (name, findings, patient, age, sex, view) in table.rows(
        'Image Index',
        'Finding Labels',
        'Patient ID',
        'Patient Age',
        'Patient Gender',
        'View Position',
    ):
        if name not in splits:
            unlisted += 1
            continue
        listed -= 1
        yield Entry(
            name,
            root / 'images' / name,
            patient.zfill(8),  # as in the names, and as RSNA's mapping has it
            splits[name],
            labels=_parse_findings(findings, where),
            boxes=_fit_nih14_boxes(
                boxes.pop(name, None), root / 'images' / name
            ),
            facts=dict(sex=parse_sex(sex), age=parse_age(age), view=view),
        )
    leave_out(unlisted, 'images that are in neither of the two lists')
    leave_out(listed, f'names of the lists that {table.path.name} has not')
    leave_out(len(boxes), 'images with boxes that are not in the release')


def _parse_findings(text: str, where: str) -> dict:
    """Read a list such as ``Cardiomegaly|Emphysema``."""
    found = set(text.split('|')) - {'No Finding'}
    unknown = sorted(found.difference(NIH14_CLASSES))
    if unknown:
        raise UserError(
            f'{where}: unknown finding "{unknown[0]}"; known: '
            f'{", ".join(NIH14_CLASSES)}.'
        )
    return {name: int(name in found) for name in NIH14_CLASSES}


def _read_nih14_boxes(path: Path | None) -> dict:
    boxes: dict = {}
    if path is not None:
        # the header's last column is "Bbox [x,y,w,h]", cut at its commas
        columns = ('Image Index', 'Finding Label', 'Bbox [x', 'y', 'w', 'h]')
        for where, (name, label, *numbers) in Table(path).rows(*columns):
            label = label.replace('Infiltrate', 'Infiltration')
            box = parse_box(label, numbers, where, size=True)
            boxes.setdefault(name, []).append(box)
    return boxes


def _fit_nih14_boxes(boxes: list | None, path: Path) -> list | None:
    if not boxes or not path.is_file():
        return boxes
    with contextlib.suppress(OSError), Image.open(path) as image:
        across, down = (edge / NIH14_EDGE for edge in image.size)
        boxes = [
            (name, x1 * across, y1 * down, x2 * across, y2 * down)
            for name, x1, y1, x2, y2 in boxes
        ]
    return boxes


@release(
    'shenzhen',
    shares=dict(train=0.7, val=0.1, test=0.2),
    expected=dict(images=662, TB=336),
)
def read_shenzhen(root: Path) -> Iterator[Entry]:
    """Read NIH Shenzhen: the last digit of the name says tuberculosis."""
    folder = find(root, 'CXR_png', holds='CXR_png/ and ClinicalReadings/')
    for stem, path in find_images(folder, '.png').items():
        yield Entry(
            path.name,
            path,
            stem,
            labels=parse_tuberculosis(stem, path),
            facts=read_clinical_reading(root, stem)[0],
        )


def parse_tuberculosis(stem: str, path: Path) -> dict:
    """Read the label off the name of an image of Shenzhen or Montgomery."""
    match = re.fullmatch(r'(?:CHN|MCU)CXR_\d+_([01])', stem)
    if match is None:
        raise UserError(
            f'{path}: the name is not of the kind CHNCXR_0001_0.png; move '
            'other files out of the folder.'
        )
    return dict(TB=int(match[1]))


def read_clinical_reading(root: Path, stem: str) -> tuple:
    """Read the clinical reading of an image of Shenzhen or Montgomery.

    Shenzhen's begin like ``male 45yrs``, Montgomery's with the lines
    ``Patient's Sex: F`` and ``Patient's Age: 027Y``.

    Returns:
        tuple[dict, str]: Sex and age; the whole text. None and '' if there
        is no such file.
    """
    path = root / 'ClinicalReadings' / f'{stem}.txt'
    try:
        text = path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        text = ''
    head = ' '.join(text.splitlines()[:2])
    sex = re.search(r'\b(femal|male|f\b|m\b)', head, re.I)
    age = re.search(r'\d+ *[a-z]*', head, re.I)
    return dict(
        sex=parse_sex(sex[0]) if sex else None,
        age=parse_age(age[0]) if age else None,
    ), text


@release('vindr_cxr', hold_out=0.1, expected=dict(images=18000, test=3000))
def read_vindr_cxr(root: Path) -> Iterator[Entry]:
    """Read VinDr-CXR's labels: 1 if any reader of the image says so.

    A train image has a row for each of its three readers, a test image one
    for their consensus.
    """
    for split in ('train', 'test'):
        table = Table(
            find(
                root,
                f'annotations/image_labels_{split}.csv',
                f'image_labels_{split}.csv',
                holds=vindr.HOLDS,
            )
        )
        columns = [c for c in table.header if c not in ('image_id', 'rad_id')]
        names = [vindr.find_label(c, str(table.path)) for c in columns]
        labels: dict = {}
        for where, (image, *cells) in table.rows('image_id', *columns):
            values = _parse_labels(names, cells, where)
            known = labels.setdefault(image, values)
            for name, value in values.items():
                known[name] = max(known[name] or 0, value or 0)
        for image, path in vindr.list_images(root, split, labels).items():
            # PE is what the papers call a pleural effusion
            pe = labels[image]['Pleural effusion']
            yield Entry(
                f'{split}/{image}.png',
                path,
                image,
                split,
                labels=dict(labels[image], PE=pe),
            )


@release('covidx', hold_out=0.1)
def read_covidx(root: Path) -> Iterator[Entry]:
    """Read COVIDx with three classes: lines of patient, file, label, source.

    The number of images differs between its versions.
    """
    holds = 'train.txt, test.txt, train/ and test/'
    for split in ('train', 'val', 'test'):
        path = find_optional(root, f'{split}.txt', f'{split}_COVIDx*.txt')
        if path is None:
            if split == 'val':
                continue
            path = find(root, f'{split}.txt', holds=holds)
        for where, line in read_lines(path):
            patient, name, label, source = _split_covidx(line, where)
            yield Entry(
                f'{split}/{name}',
                root / split / name,
                patient,
                split,
                labels={c: int(c == label) for c in COVIDX_CLASSES},
                facts=dict(source=source),
            )


def _split_covidx(line: str, where: str) -> tuple:
    """Split a line; names of files may hold blanks, sources may lack."""
    words = line.split()
    for count in (1, 0):  # words behind the label
        label = words[-1 - count] if len(words) > count + 2 else ''
        if label in COVIDX_CLASSES:
            name = line.split(None, 1)[1]
            name = name.rsplit(None, count + 1)[0]
            return words[0], name, label, words[-1] if count else None
    raise UserError(
        f'{where}: "{line[:80]}" is no line "patient file label source" with '
        f'a label of {", ".join(COVIDX_CLASSES)}; take a version of COVIDx '
        'with three classes.'
    )


def _parse_labels(classes: tuple, cells: list, where: str) -> dict:
    return {
        # a message a cell would take longer than all the rest
        name: VALUES[cell]
        if cell in VALUES
        else parse_value(cell, f'{where}, column "{name}"')
        for name, cell in zip(classes, cells)
    }
