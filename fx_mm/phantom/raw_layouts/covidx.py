"""COVIDx with three classes."""

from pathlib import Path

from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines


@raw_layout('covidx', hospital='b', splits=('train', 'test'))
def write_covidx(root: Path, cases: list[RawCase]) -> None:
    """Write train.txt and test.txt: patient, file, label, source per row."""
    lines: dict[str, list[str]] = dict(train=[], test=[])
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
