"""VinDr-CXR: labels of each of three radiologists, and of their consensus."""

from collections.abc import Iterator

from fx_mm.preparation import vindr
from fx_mm.preparation.cell_values import parse_labels
from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder

CLASSES = ('PE', *vindr.LOCAL, *vindr.GLOBAL)
"""PE is what the papers call a pleural effusion."""


@raw_dataset(
    'vindr_cxr',
    classes=CLASSES,
    holds=vindr.HOLDS,
    val_ratio=0.1,
    official_counts=dict(images=18000, test=3000),
)
def read_vindr_cxr(folder: RawFolder) -> Iterator[RawImage]:
    """Read the labels: 1 if any reader of the image says so.

    A train image has one row for each of its three readers, a test image one
    for their consensus.
    """
    for split in ('train', 'test'):
        table = folder.open_table(
            folder.find(
                f'annotations/image_labels_{split}.csv',
                f'image_labels_{split}.csv',
            )
        )
        columns = [c for c in table.header if c not in ('image_id', 'rad_id')]
        names = [vindr.find_label(c, str(table.path)) for c in columns]
        labels: dict[str, dict[str, float | None]] = {}
        for where, (image, *cells) in table.rows('image_id', *columns):
            values = parse_labels(names, cells, where)
            known = labels.setdefault(image, values)
            for name, value in values.items():
                known[name] = max(known[name] or 0, value or 0)
        for image, path in vindr.locate_images(folder, split, labels).items():
            effusion = labels[image]['Pleural effusion']
            yield RawImage(
                f'{split}/{image}.png',
                path,
                image,
                split,
                labels=dict(labels[image], PE=effusion),
            )
