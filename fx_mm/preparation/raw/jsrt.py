"""JSRT with the masks of SCR, in two folds."""

import re
from collections.abc import Iterator
from typing import Any

from fx_mm.preparation.cell_values import parse_age, parse_sex
from fx_mm.preparation.mask_files import MaskFile
from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

STRUCTURES = {
    'Lung': ('left lung', 'right lung'),
    'Heart': ('heart',),
    'Clavicle': ('left clavicle', 'right clavicle'),
}
"""Class to SCR's folders of its masks."""
FOLDS = dict(train='fold1', test='fold2')


@raw_dataset(
    'jsrt',
    classes=('Nodule', *STRUCTURES),
    holds='All247images/ and scratch/ with fold1/masks/ and fold2/masks/',
    val_ratio=0.1,
    official_counts=dict(images=247, test=123),
)
def read_jsrt(folder: RawFolder) -> Iterator[RawImage]:
    """Read images and masks: the first fold trains, the second tests."""
    images = folder.find('All247images')
    folds = {
        split: folder.find(f'scratch/{fold}', fold, f'*/{fold}')
        for split, fold in FOLDS.items()
    }
    metadata = _read_metadata(folder)
    for stem, path in folder.find_images(images, '.img').items():
        split = next(
            (
                split
                for split, fold in folds.items()
                if (fold / 'masks' / 'heart' / f'{stem}.gif').is_file()
            ),
            None,
        )
        if split is None:
            raise UserError(
                f'{path}: has no mask masks/heart/{stem}.gif in fold1 or '
                'fold2; unpack the whole of SCR.'
            )
        yield RawImage(
            f'{stem}.png',
            path,
            stem,
            split,
            labels=dict(Nodule=int(stem.startswith('JPCLN'))),
            masks={
                name: [
                    MaskFile(folds[split] / 'masks' / below / f'{stem}.gif')
                    for below in structures
                ]
                for name, structures in STRUCTURES.items()
            },
            metadata=metadata.get(stem, {}),
        )


def _read_metadata(folder: RawFolder) -> dict[str, dict[str, Any]]:
    """Read age and sex from the clinical information, if it is there."""
    metadata = {}
    for name in ('CLNDAT_EN', 'CNNDAT_EN'):
        for suffix in ('txt', 'TXT'):
            file = f'{name}.{suffix}'
            path = folder.find_optional(file, f'*/{file}')
            text = folder.read_optional_text(path) if path else ''
            # such as "JPCLN001.IMG 5 15 53 male 1634 692 malignant ..."
            for stem, age, sex in re.findall(
                r'(JPC[LN]N\d{3})\.IMG[^\n]*?(\d+)[ \t,]+(female|male)', text
            ):
                metadata[stem] = dict(sex=parse_sex(sex), age=parse_age(age))
    return metadata
