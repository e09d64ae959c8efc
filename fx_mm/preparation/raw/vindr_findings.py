"""Boxes of VinDr-CXR, in the official tables or Kaggle's."""

from collections.abc import Iterator
from pathlib import Path

from fx_mm.preparation import vindr
from fx_mm.preparation.box_fusion import fuse_boxes
from fx_mm.preparation.cell_values import parse_box
from fx_mm.preparation.raw_dataset import Box, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

RARE = (
    'Clavicle fracture', 'Edema', 'Emphysema', 'Enlarged PA', 'Lung cavity',
    'Lung cyst', 'Mediastinal shift', 'Rib fracture',
)  # fmt: skip
"""Findings that are not among the fourteen of the Kaggle challenge."""
KAGGLE = tuple(sorted(set(vindr.LOCAL).difference(RARE)))
"""The challenge's fourteen, in its order, which is alphabetical."""


@raw_dataset(
    'vindr_findings',
    classes=(*KAGGLE, *RARE),
    holds=f'{vindr.HOLDS}, or train.csv of Kaggle',
    split_ratios=dict(train=0.7, val=0.1, test=0.2),
    val_ratio=0.1,
    official_counts=dict(images=18000, test=3000),
    options=dict(readers='fuse', iou=0.4, rare='skip'),
)
def read_vindr_findings(
    folder: RawFolder,
    readers: str = 'fuse',
    iou: float = 0.4,
    rare: str = 'skip',
) -> Iterator[RawImage]:
    """Read the boxes.

    Kaggle has no labels of the test images, so its train images are split.

    Args:
        folder (RawFolder): VinDr-CXR.
        readers (str): What becomes of the boxes of an image's readers:
            ``fuse`` by weighted boxes fusion, or keep ``all``. Defaults to
            'fuse'. Test images have a consensus, which stays as it is.
        iou (float): See :func:`fuse_boxes`. Defaults to 0.4.
        rare (str): The official tables have eight more findings than
            Kaggle's: ``skip`` them, or count them as ``other_lesion``.
            Defaults to 'skip'.
    """
    for option, value, known in (
        ('readers', readers, ('fuse', 'all')),
        ('rare', rare, ('skip', 'other_lesion')),
    ):
        if value not in known:
            raise UserError(
                f'Option {option} of vindr_findings is '
                f'{" or ".join(known)}, not "{value}".'
            )
    for images, path, split in _find_tables(folder):
        drawn = _read_boxes(folder, path, rare == 'other_lesion')
        for image, source in vindr.locate_images(
            folder, images, drawn
        ).items():
            boxes = sorted(drawn[image])
            if readers == 'fuse' and images == 'train':
                boxes = _fuse(boxes, iou)
            yield RawImage(
                f'{images}/{image}.png', source, image, split, boxes=boxes
            )


def _find_tables(folder: RawFolder) -> list[tuple[str, Path, str | None]]:
    """Return (folder of the images, table, official split) of each table."""
    names = {
        split: (
            f'annotations/annotations_{split}.csv',
            f'annotations_{split}.csv',
        )
        for split in ('train', 'test')
    }
    kaggle = folder.find_optional('train.csv', 'annotations/train.csv')
    if kaggle is not None and folder.find_optional(*names['train']) is None:
        return [('train', kaggle, None)]
    return [
        (split, folder.find(*files), split) for split, files in names.items()
    ]


def _read_boxes(
    folder: RawFolder, path: Path, merge_rare: bool
) -> dict[str, list[Box]]:
    """Return the boxes of each image, [] of one without findings."""
    boxes: dict[str, list[Box]] = {}
    for where, (image, label, *numbers) in folder.open_table(path).rows(
        'image_id', 'class_name', 'x_min', 'y_min', 'x_max', 'y_max'
    ):
        known = boxes.setdefault(image, [])
        name = vindr.find_label(label, where)
        if name in vindr.GLOBAL:  # "No finding" has no box
            continue
        if merge_rare and name in RARE:
            name = 'Other lesion'
        known.append(parse_box(name, numbers, where))
    return boxes


def _fuse(boxes: list[Box], iou: float) -> list[Box]:
    """Fuse the boxes of each class."""
    fused: list[Box] = []
    for name in dict.fromkeys(box[0] for box in boxes):
        same = [box[1:] for box in boxes if box[0] == name]
        for corners in fuse_boxes(same, readers=3, iou=iou)[0]:
            x1, y1, x2, y2 = map(float, corners)
            fused.append((name, x1, y1, x2, y2))
    return fused
