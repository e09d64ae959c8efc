"""JSRT with the masks of SCR."""

from pathlib import Path

import numpy as np

from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image, save_raw
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.preparation.raw.jsrt import STRUCTURES


@raw_layout('jsrt', hospital='c', bones=True)
def write_jsrt(root: Path, cases: list[RawCase]) -> None:
    """Write raw 12-bit images; GIF masks of half their size in two folds.

    Officially the edge is 2048; here it is smaller, but square as well.
    """
    numbers = dict(JPCLN=0, JPCNN=0)
    for case in cases:
        prefix = 'JPCLN' if 'Nodule' in case.findings else 'JPCNN'
        numbers[prefix] += 1
        name = f'{prefix}{numbers[prefix]:03d}'
        save_raw(root / f'All247images/{name}.IMG', case.phantom.image)
        masks = case.phantom.masks | case.phantom.bones
        empty = np.zeros_like(masks['Heart'])
        fold = 1 if numbers[prefix] % 2 else 2
        for structures in STRUCTURES.values():
            for structure in structures:
                mask = masks.get(structure.capitalize(), empty)
                save_image(
                    root / f'scratch/fold{fold}/masks/{structure}/{name}.gif',
                    mask[::2, ::2],
                )
