"""NIH Shenzhen: tuberculosis, by the last digit of the image's name."""

from collections.abc import Iterator

from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.preparation.tuberculosis import (
    parse_tuberculosis,
    read_clinical_reading,
)


@raw_dataset(
    'shenzhen',
    classes=('TB',),
    holds='CXR_png/ and ClinicalReadings/',
    split_ratios=dict(train=0.7, val=0.1, test=0.2),
    official_counts=dict(images=662, TB=336),
)
def read_shenzhen(folder: RawFolder) -> Iterator[RawImage]:
    """Read names and clinical readings."""
    images = folder.find('CXR_png')
    for stem, path in folder.find_images(images, '.png').items():
        yield RawImage(
            path.name,
            path,
            stem,
            labels=parse_tuberculosis(stem, path),
            metadata=read_clinical_reading(folder, stem)[0],
        )
