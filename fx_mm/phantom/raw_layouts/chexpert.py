"""CheXpert."""

from pathlib import Path
from typing import Any

from fx_mm.phantom.class_meanings import means, report_label
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_table
from fx_mm.preparation.raw.chexpert import CLASSES


@raw_layout(
    'chexpert',
    hospital='a',
    splits=('train', 'val', 'test'),
    several_studies=True,
    laterals=True,
    tall=True,
)
def write_chexpert(root: Path, cases: list[RawCase]) -> None:
    """Write CheXpert-v1.0/train.csv, valid.csv and the test set's labels."""
    folders = dict(train='train', val='valid', test='test')
    rows: dict[str, list[list[Any]]] = dict(train=[], val=[], test=[])
    for case in cases:
        view = 'lateral' if case.position == 'LATERAL' else 'frontal'
        study = (
            f'CheXpert-v1.0/{folders[case.split]}/'
            f'patient{case.patient:05d}/study{case.study}'
        )
        name = f'{study}/view{case.view}_{view}.jpg'
        save_image(root / name, case.phantom.image)
        metadata = [
            'Male' if case.sex == 'M' else 'Female',
            case.age,
            view.capitalize(),
            case.position if view == 'frontal' else None,
        ]
        if case.split == 'train':
            labels = [report_label(c, case.findings, study) for c in CLASSES]
        else:
            labels = [float(means(c, case.findings)) for c in CLASSES]
        if case.split == 'test':
            metadata = []
        rows[case.split].append([name, *metadata, *labels])
    header = ['Path', 'Sex', 'Age', 'Frontal/Lateral', 'AP/PA', *CLASSES]
    write_table(root / 'CheXpert-v1.0/train.csv', header, rows['train'])
    write_table(root / 'CheXpert-v1.0/valid.csv', header, rows['val'])
    write_table(
        root / 'CheXpert_test_official.csv', ['Path', *CLASSES], rows['test']
    )
