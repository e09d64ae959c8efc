"""Twins of releases with image labels."""

from pathlib import Path

from fx_mm.phantom.raw_layouts.cases import Case
from fx_mm.phantom.raw_layouts.image_files import save_image
from fx_mm.phantom.raw_layouts.meanings import means, report
from fx_mm.phantom.raw_layouts.tables import write_lines, write_table
from fx_mm.phantom.raw_layouts.twins import twin

CHEXPERT = (
    'No Finding', 'Enlarged Cardiomediastinum', 'Cardiomegaly',
    'Lung Opacity', 'Lung Lesion', 'Edema', 'Consolidation', 'Pneumonia',
    'Atelectasis', 'Pneumothorax', 'Pleural Effusion', 'Pleural Other',
    'Fracture', 'Support Devices',
)  # fmt: skip
NIH = (
    'Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass',
    'Nodule', 'Pneumonia', 'Pneumothorax', 'Consolidation', 'Edema',
    'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia',
)  # fmt: skip
NIH_BOXED = NIH[:8]
NIH_BOX_EDGE = 1024
"""Pixels of the images that NIH's boxes are given for."""
NIH_PATIENTS = 38
"""What patients' numbers begin behind: with these, a split by patient leaves
no part empty, even of few images."""


@twin(
    'chexpert',
    hospital='a',
    parts=('train', 'val', 'test'),
    several=True,
    laterals=True,
    tall=True,
)
def write_chexpert(root: Path, cases: list[Case]) -> None:
    """CheXpert-v1.0/train.csv, valid.csv and the test set's labels."""
    folders = dict(train='train', val='valid', test='test')
    rows = dict(train=[], val=[], test=[])
    for case in cases:
        view = 'lateral' if case.position == 'LATERAL' else 'frontal'
        study = (
            f'CheXpert-v1.0/{folders[case.split]}/'
            f'patient{case.patient:05d}/study{case.study}'
        )
        name = f'{study}/view{case.view}_{view}.jpg'
        save_image(root / name, case.phantom.image)
        facts = [
            'Male' if case.sex == 'M' else 'Female',
            case.age,
            view.capitalize(),
            case.position if view == 'frontal' else None,
        ]
        if case.split == 'train':
            labels = [report(c, case.findings, study) for c in CHEXPERT]
        else:
            labels = [float(means(c, case.findings)) for c in CHEXPERT]
        if case.split == 'test':
            facts = []
        rows[case.split].append([name, *facts, *labels])
    header = ['Path', 'Sex', 'Age', 'Frontal/Lateral', 'AP/PA', *CHEXPERT]
    write_table(root / 'CheXpert-v1.0/train.csv', header, rows['train'])
    write_table(root / 'CheXpert-v1.0/valid.csv', header, rows['val'])
    write_table(
        root / 'CheXpert_test_official.csv', ['Path', *CHEXPERT], rows['test']
    )


@twin(
    'mimic_cxr',
    hospital='a',
    parts=('train', 'val', 'test'),
    several=True,
    laterals=True,
    tall=True,
    unlabelled=1,
)
def write_mimic_cxr(root: Path, cases: list[Case]) -> None:
    """files/p10/p10000001/s50000001/ID.jpg and three compressed tables."""
    classes = sorted(CHEXPERT)
    labels, splits, metadata = {}, [], []
    for case in cases:
        subject = 10000000 + case.patient
        study = 50000000 + 10 * case.patient + case.study
        dicom = '-'.join(case.key[i : i + 8] for i in range(0, 32, 8))
        dicom = f'{dicom}-{case.number:08x}'
        save_image(
            root / f'files/p10/p{subject}/s{study}/{dicom}.jpg',
            case.phantom.image,
        )
        # A study of the training part that the labeler's table lacks
        split = dict(val='validate', unlabelled='train').get(case.split)
        splits.append([dicom, study, subject, split or case.split])
        height, width = case.phantom.image.shape
        metadata.append(
            [dicom, subject, study, 'CHEST (PA AND LAT)', case.position]
            + [height, width]
        )
        if case.split != 'unlabelled':
            key = f's{study}'
            values = [report(c, case.findings, key) for c in classes]
            labels[study] = [subject, study, *values]
    prefix = 'mimic-cxr-2.0.0'
    write_table(
        root / f'{prefix}-chexpert.csv.gz',
        ['subject_id', 'study_id', *classes],
        labels.values(),
    )
    write_table(
        root / f'{prefix}-split.csv.gz',
        ['dicom_id', 'study_id', 'subject_id', 'split'],
        splits,
    )
    write_table(
        root / f'{prefix}-metadata.csv.gz',
        ['dicom_id', 'subject_id', 'study_id']
        + ['PerformedProcedureStepDescription', 'ViewPosition']
        + ['Rows', 'Columns'],
        metadata,
    )


@twin(
    'nih14',
    hospital='b',
    parts=('train', 'test'),
    # The boxes, which are split anew, are of test images.
    shares=dict(train=0.3, val=0.1, test=0.6),
    several=True,
)
def write_nih14(root: Path, cases: list[Case]) -> None:
    """The table, the two lists and the boxes, which are of test images.

    The boxes are given for images of 1024 pixels, as officially.
    """
    rows, boxes = [], []
    lists = dict(train=[], test=[])
    follow_up = 0
    for previous, case in zip([None, *cases], cases):
        same = previous is not None and previous.patient == case.patient
        follow_up = follow_up + 1 if same else 0
        patient = NIH_PATIENTS + case.patient
        name = f'{patient:08d}_{follow_up:03d}.png'
        # Some of the official images have colours and opacity.
        mode = 'RGBA' if case.number % 10 == 0 else 'L'
        save_image(root / 'images' / name, case.phantom.image, mode)
        findings = {finding for finding, _ in case.phantom.boxes}
        found = [c for c in NIH if means(c, findings)]
        size = case.phantom.image.shape[0]
        rows.append(
            [name, '|'.join(found) or 'No Finding', follow_up, patient]
            + [case.age, case.sex, 'AP' if case.position == 'AP' else 'PA']
            + [2500, 2048, 0.168, 0.168]
        )
        lists[case.split].append(name)
        if case.split == 'train':
            continue
        scale = NIH_BOX_EDGE / size
        for class_name in NIH_BOXED:
            for finding, (x1, y1, x2, y2) in case.phantom.boxes:
                if means(class_name, {finding}):
                    box = [x1, y1, x2 - x1, y2 - y1]
                    label = class_name.replace('Infiltration', 'Infiltrate')
                    boxes.append([name, label, *(scale * v for v in box)])
    header = ['Image Index', 'Finding Labels', 'Follow-up #', 'Patient ID']
    header += ['Patient Age', 'Patient Gender', 'View Position']
    # Two columns each, whose names hold a comma without quotes
    header += ['OriginalImage[Width', 'Height]']
    header += ['OriginalImagePixelSpacing[x', 'y]']
    write_table(root / 'Data_Entry_2017_v2020.csv', header, rows)
    write_table(
        root / 'BBox_List_2017.csv',
        ['Image Index', 'Finding Label', 'Bbox [x', 'y', 'w', 'h]', *3 * ['']],
        boxes,
    )
    write_lines(root / 'train_val_list.txt', lists['train'])
    write_lines(root / 'test_list.txt', lists['test'])


@twin('shenzhen', hospital='c', tall=True)
def write_shenzhen(root: Path, cases: list[Case]) -> None:
    """CXR_png/CHNCXR_0001_0.png, 1 at the end for tuberculosis."""
    for case in cases:
        sick = means('Tuberculosis', case.findings)
        name = f'CHNCXR_{case.number:04d}_{int(sick)}'
        save_image(root / f'CXR_png/{name}.png', case.phantom.image, 'RGB')
        sex = dict(M='male', F='female')[case.sex]
        write_lines(
            root / f'ClinicalReadings/{name}.txt',
            [f'{sex} {case.age}yrs', 'bilateral PTB' if sick else 'normal'],
        )


@twin('covidx', hospital='b', parts=('train', 'test'))
def write_covidx(root: Path, cases: list[Case]) -> None:
    """train.txt and test.txt: patient, file, label and source a row."""
    lines = dict(train=[], test=[])
    for case in cases:
        if means('Pneumonia', case.findings):
            label, source = 'pneumonia', 'rsna'
        elif case.findings & {'Nodule', 'Mass', 'Pleural effusion'}:
            label, source = 'COVID-19', 'cohen'
        else:
            label, source = 'normal', 'rsna'
        suffix = ('png', 'jpg', 'jpeg')[case.number % 3]
        name = f'{case.key}.{suffix}'
        save_image(root / case.split / name, case.phantom.image)
        lines[case.split].append(f'{case.patient} {name} {label} {source}')
    for split, rows in lines.items():
        write_lines(root / f'{split}.txt', rows)
