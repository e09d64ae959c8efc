"""NIH ChestX-ray14: one table, two lists, and boxes of 880 images."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from fx_mm.preparation.cell_values import parse_age, parse_box, parse_sex
from fx_mm.preparation.raw_dataset import Box, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

CLASSES = (
    'Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass',
    'Nodule', 'Pneumonia', 'Pneumothorax', 'Consolidation', 'Edema',
    'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia',
)  # fmt: skip
BOXED_CLASSES = CLASSES[:8]
BOX_EDGE = 1024
"""Pixels along an edge of the images that the boxes are given for."""


@raw_dataset(
    'nih14',
    classes=CLASSES,
    holds="images/ (or Kaggle's images_001/images/ to images_012/images/), "
    'Data_Entry_2017_v2020.csv, train_val_list.txt, test_list.txt and '
    'BBox_List_2017.csv',
    val_ratio=0.1,
    box_split_ratios=dict(train=0.7, val=0.1, test=0.2),
    official_counts=dict(images=112120, test=25596),
)
def read_nih14(folder: RawFolder) -> Iterator[RawImage]:
    """Read the table, the two lists and the boxes.

    Boxes are in pixels of the official images (1024x1024); in a copy with
    smaller images they are reduced as those are.
    """
    table = folder.open_table(
        folder.find('Data_Entry_2017_v2020.csv', 'Data_Entry_2017.csv')
    )
    splits = {
        name: split
        for file, split in (
            ('train_val_list.txt', 'train'),
            ('test_list.txt', 'test'),
        )
        for _, name in folder.read_lines(folder.find(file))
    }
    boxes = _read_boxes(folder)
    sources = _find_images(folder)
    unlisted, listed = 0, len(splits)
    for where, (name, findings, patient, age, sex, view) in table.rows(
        'Image Index',
        'Finding Labels',
        'Patient ID',
        'Patient Age',
        'Patient Gender',
        'View Position',
    ):
        if name not in splits:
            unlisted += 1
            continue
        listed -= 1
        source = sources.get(name) or folder.root / 'images' / name
        yield RawImage(
            name,
            source,
            patient.zfill(8),  # as in the names, and as RSNA's mapping has it
            splits[name],
            labels=_parse_findings(findings, where),
            boxes=_fit_boxes(boxes.pop(name, None), source),
            metadata=dict(sex=parse_sex(sex), age=parse_age(age), view=view),
        )
    skip = folder.skipped.add
    skip(unlisted, 'images that are in neither of the two lists')
    skip(listed, f'names of the lists that are not in {Path(table.path).name}')
    skip(len(boxes), 'images with boxes that are not in the table and lists')


def _find_images(folder: RawFolder) -> dict[str, Path]:
    """Find images that lie in several folders, as in Kaggle's copy.

    Returns:
        dict[str, Path]: Name to path; empty if there is but ``images/``.
    """
    parts = [path for path in folder.root.glob('images_*') if path.is_dir()]
    if not parts:
        return {}
    return {
        path.name: path
        for part in [*sorted(parts), folder.root / 'images']
        for path in folder.find_images(part, '.png').values()
    }


def _parse_findings(text: str, where: str) -> dict[str, float | None]:
    """Read a list such as ``Cardiomegaly|Emphysema``."""
    found = set(text.split('|')) - {'No Finding'}
    unknown = sorted(found.difference(CLASSES))
    if unknown:
        raise UserError(
            f'{where}: unknown finding "{unknown[0]}"; known: '
            f'{", ".join(CLASSES)}.'
        )
    return {name: int(name in found) for name in CLASSES}


def _read_boxes(folder: RawFolder) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = {}
    path = folder.find_optional('BBox_List_2017.csv')
    if path is not None:
        # the header's last column is "Bbox [x,y,w,h]", cut at its commas
        columns = ('Image Index', 'Finding Label', 'Bbox [x', 'y', 'w', 'h]')
        table = folder.open_table(path)
        for where, (name, label, *numbers) in table.rows(*columns):
            label = label.replace('Infiltrate', 'Infiltration')
            box = parse_box(label, numbers, where, size=True)
            boxes.setdefault(name, []).append(box)
    return boxes


def _fit_boxes(boxes: list[Box] | None, path: Path) -> list[Box] | None:
    """Bring boxes to the size of their image, if it can be read."""
    if not boxes or not path.is_file():
        return boxes
    with contextlib.suppress(OSError), Image.open(path) as image:
        across, down = (edge / BOX_EDGE for edge in image.size)
        boxes = [
            (name, x1 * across, y1 * down, x2 * across, y2 * down)
            for name, x1, y1, x2, y2 in boxes
        ]
    return boxes
