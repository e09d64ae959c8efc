"""MIMIC-CXR-JPG."""

from pathlib import Path

from fx_mm.phantom.class_meanings import report_label
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_table
from fx_mm.preparation.raw.mimic_cxr import CLASSES


@raw_layout(
    'mimic_cxr',
    hospital='a',
    splits=('train', 'val', 'test'),
    several_studies=True,
    laterals=True,
    tall=True,
    unlabelled=1,
)
def write_mimic_cxr(root: Path, cases: list[RawCase]) -> None:
    """Write files/p10/p10000001/s50000001/ID.jpg and three gzipped tables."""
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
        # A study of the training split that the labeler's table lacks
        split = dict(val='validate', unlabelled='train').get(case.split)
        splits.append([dicom, study, subject, split or case.split])
        height, width = case.phantom.image.shape
        metadata.append(
            [dicom, subject, study, 'CHEST (PA AND LAT)', case.position]
            + [height, width]
        )
        if case.split != 'unlabelled':
            key = f's{study}'
            values = [report_label(c, case.findings, key) for c in CLASSES]
            labels[study] = [subject, study, *values]
    prefix = 'mimic-cxr-2.0.0'
    write_table(
        root / f'{prefix}-chexpert.csv.gz',
        ['subject_id', 'study_id', *CLASSES],
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
