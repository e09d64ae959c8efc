"""NIH Shenzhen."""

from pathlib import Path

from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines


@raw_layout('shenzhen', hospital='c', tall=True)
def write_shenzhen(root: Path, cases: list[RawCase]) -> None:
    """Write CXR_png/CHNCXR_0001_0.png, 1 at the end for tuberculosis."""
    for case in cases:
        sick = means('Tuberculosis', case.findings)
        name = f'CHNCXR_{case.number:04d}_{int(sick)}'
        save_image(root / f'CXR_png/{name}.png', case.phantom.image, 'RGB')
        sex = dict(M='male', F='female')[case.sex]
        write_lines(
            root / f'ClinicalReadings/{name}.txt',
            [f'{sex} {case.age}yrs', 'bilateral PTB' if sick else 'normal'],
        )
