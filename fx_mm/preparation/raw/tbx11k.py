"""TBX11K: COCO files, all kinds of tuberculosis as one class."""

from collections.abc import Iterator
from pathlib import Path

from fx_mm.preparation.cell_values import parse_box
from fx_mm.preparation.raw_dataset import Box, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

SPLITS = dict(train='train', val='test')
"""The labels of the official test images are not public; the official
validation split tests, as in the papers."""


@raw_dataset(
    'tbx11k',
    classes=('Tuberculosis',),
    holds='imgs/ and annotations/json/',
    val_ratio=0.1,
    official_counts=dict(images=8400, test=1800, Tuberculosis=800),
)
def read_tbx11k(folder: RawFolder) -> Iterator[RawImage]:
    """Read the COCO files."""
    for official, split in SPLITS.items():
        path = folder.find(f'annotations/json/TBX11K_{official}.json')
        names = {
            number: name
            for _, (number, name) in folder.read_records(
                path, 'id', 'file_name', within='images'
            )
        }
        boxes: dict[int, list[Box]] = {number: [] for number in names}
        for where, (number, box) in folder.read_records(
            path, 'image_id', 'bbox', within='annotations'
        ):
            if number not in boxes:
                raise UserError(
                    f'{where}: is of image {number}, which is not in the '
                    'file; download it again.'
                )
            boxes[number].append(
                parse_box('Tuberculosis', box, where, size=True)
            )
        for number, name in names.items():
            yield RawImage(
                name,
                folder.root / 'imgs' / name,
                Path(name).stem,
                split,
                labels=dict(Tuberculosis=int(name.startswith('tb/'))),
                boxes=boxes[number],
            )
