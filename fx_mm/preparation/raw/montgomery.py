"""NIH Montgomery: tuberculosis, and a mask file for each lung."""

import re
from collections.abc import Iterator

from fx_mm.preparation.mask_files import MaskFile
from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.preparation.tuberculosis import (
    parse_tuberculosis,
    read_clinical_reading,
)


@raw_dataset(
    'montgomery',
    classes=('TB', 'Lung'),
    holds='CXR_png/, ManualMask/leftMask/, ManualMask/rightMask/',
    split_ratios=dict(train=0.7, val=0.1, test=0.2),
    official_counts=dict(images=138),
)
def read_montgomery(folder: RawFolder) -> Iterator[RawImage]:
    """Read names, masks and clinical readings."""
    images = folder.find('CXR_png')
    masks = folder.find('ManualMask')
    for stem, path in folder.find_images(images, '.png').items():
        metadata, text = read_clinical_reading(folder, stem)
        # some patients came twice: "NO REPORT (same pt as MCUCXR_0162_1)"
        same = re.search(r'same (?:pt|patient) as (MCUCXR_\d+_\d)', text)
        yield RawImage(
            path.name,
            path,
            same[1] if same else stem,
            labels=parse_tuberculosis(stem, path),
            masks=dict(
                Lung=[
                    MaskFile(masks / f'{side}Mask' / path.name)
                    for side in ('left', 'right')
                ]
            ),
            metadata=metadata,
        )
