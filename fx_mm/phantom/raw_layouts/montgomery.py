"""NIH Montgomery."""

from pathlib import Path

from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines


@raw_layout('montgomery', hospital='c', tall=True)
def write_montgomery(root: Path, cases: list[RawCase]) -> None:
    """Write one-bit masks of the left and the right lung, and readings."""
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
