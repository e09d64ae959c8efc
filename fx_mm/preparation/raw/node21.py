"""NODE21: a row per nodule, and one for each image without any."""

from collections.abc import Iterator

from fx_mm.preparation.cell_values import parse_box, parse_label
from fx_mm.preparation.raw_dataset import Box, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder


@raw_dataset(
    'node21',
    classes=('Nodule',),
    holds='cxr_images/proccessed_data/ with metadata.csv and images/',
    split_ratios=dict(train=0.7, val=0.1, test=0.2),
    official_counts=dict(images=4882, Nodule=1134),
)
def read_node21(folder: RawFolder) -> Iterator[RawImage]:
    """Read the table."""
    path = folder.find(
        'cxr_images/proccessed_data/metadata.csv',  # the official spelling
        'proccessed_data/metadata.csv',
        '**/proccessed_data/metadata.csv',
        '**/metadata.csv',
    )
    boxes: dict[str, list[Box]] = {}
    for where, (name, label, *numbers) in folder.open_table(path).rows(
        'img_name', 'label', 'x', 'y', 'width', 'height'
    ):
        known = boxes.setdefault(name, [])
        if parse_label(label, where) == 1:
            known.append(parse_box('Nodule', numbers, where, size=True))
    for name, found in boxes.items():
        stem = name.removesuffix('.mha')
        yield RawImage(
            f'{stem}.png',
            path.parent / 'images' / f'{stem}.mha',
            stem,
            labels=dict(Nodule=int(bool(found))),
            boxes=found,
        )
