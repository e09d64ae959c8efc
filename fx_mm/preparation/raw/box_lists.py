"""Releases with boxes: tables with a row a box, COCO files."""

from collections.abc import Iterator
from pathlib import Path

from fx_mm.preparation.box_fusion import fuse_boxes
from fx_mm.preparation.entries import Entry, release
from fx_mm.preparation.raw import vindr
from fx_mm.preparation.raw.folders import find, find_optional, read_records
from fx_mm.preparation.raw.tables import Table, parse_box, parse_value
from fx_mm.utils.errors import UserError

RSNA_CLASSES = ('Normal', 'No Lung Opacity/Not Normal', 'Lung Opacity')


@release(
    'rsna',
    shares=dict(train=0.8, val=0.1, test=0.1),
    expected={
        'images': 26684,
        'Normal': 8851,
        'No Lung Opacity/Not Normal': 11821,
        'Lung Opacity': 6012,
    },
)
def read_rsna(root: Path) -> Iterator[Entry]:
    """Read the RSNA Pneumonia Detection Challenge: the labelled part.

    Its images are ChestX-ray14's; with the official mapping of names the
    split is by their patients.
    """
    holds = (
        'stage_2_train_images/, stage_2_train_labels.csv and '
        'stage_2_detailed_class_info.csv'
    )
    boxes: dict = {}
    table = Table(find(root, 'stage_2_train_labels.csv', holds=holds))
    for where, (image, target, *numbers) in table.rows(
        'patientId', 'Target', 'x', 'y', 'width', 'height'
    ):
        known = boxes.setdefault(image, [])
        if parse_value(target, where) == 1:
            known.append(parse_box('Lung Opacity', numbers, where, size=True))
    classes = {}
    table = Table(find(root, 'stage_2_detailed_class_info.csv', holds=holds))
    for where, (image, name) in table.rows('patientId', 'class'):
        name = name.replace(' / ', '/')
        if name not in RSNA_CLASSES:
            raise UserError(
                f'{where}: unknown class "{name}"; known: '
                f'{", ".join(RSNA_CLASSES)}.'
            )
        classes[image] = name
    patients = _read_rsna_patients(root)
    for image, found in boxes.items():
        if image not in classes:
            raise UserError(
                f'{table.path}: has no row for image {image}; is the file '
                'whole?'
            )
        yield Entry(
            f'{image}.png',
            root / 'stage_2_train_images' / f'{image}.dcm',
            patients.get(image, image),
            labels={c: int(c == classes[image]) for c in RSNA_CLASSES},
            boxes=found,
        )


def _read_rsna_patients(root: Path) -> dict:
    """Give the patient of each image, {} without the official mapping."""
    path = find_optional(
        root, 'pneumonia-challenge-dataset-mappings_2018.json'
    )
    if path is None:
        return {}
    # names of ChestX-ray14 begin with the patient, such as 00000001_000.png
    return {
        image: original.split('_')[0]
        for _, (image, original) in read_records(
            path, 'subset_img_id', 'img_id'
        )
    }


@release(
    'node21',
    shares=dict(train=0.7, val=0.1, test=0.2),
    expected=dict(images=4882, Nodule=1134),
)
def read_node21(root: Path) -> Iterator[Entry]:
    """Read NODE21: a row a nodule, and one for each image without."""
    path = find(
        root,
        'cxr_images/proccessed_data/metadata.csv',  # the official spelling
        'proccessed_data/metadata.csv',
        '**/proccessed_data/metadata.csv',
        '**/metadata.csv',
        holds='cxr_images/proccessed_data/ with metadata.csv and images/',
    )
    boxes: dict = {}
    for where, (name, label, *numbers) in Table(path).rows(
        'img_name', 'label', 'x', 'y', 'width', 'height'
    ):
        known = boxes.setdefault(name, [])
        if parse_value(label, where) == 1:
            known.append(parse_box('Nodule', numbers, where, size=True))
    for name, found in boxes.items():
        stem = name.removesuffix('.mha')
        yield Entry(
            f'{stem}.png',
            path.parent / 'images' / f'{stem}.mha',
            stem,
            labels=dict(Nodule=int(bool(found))),
            boxes=found,
        )


@release(
    'tbx11k',
    hold_out=0.1,
    expected=dict(images=8400, test=1800, Tuberculosis=800),
)
def read_tbx11k(root: Path) -> Iterator[Entry]:
    """Read TBX11K: COCO files, all kinds of tuberculosis as one class.

    The labels of its test images are not public; its validation part is our
    test part, as in the papers.
    """
    for part, split in (('train', 'train'), ('val', 'test')):
        path = find(
            root,
            f'annotations/json/TBX11K_{part}.json',
            holds='imgs/ and annotations/json/',
        )
        names = {
            number: name
            for _, (number, name) in read_records(
                path, 'id', 'file_name', within='images'
            )
        }
        boxes: dict = {number: [] for number in names}
        for where, (number, box) in read_records(
            path, 'image_id', 'bbox', within='annotations'
        ):
            if number not in boxes:
                raise UserError(
                    f'{where}: is of image {number}, which is not in the '
                    'file; download it anew.'
                )
            boxes[number].append(
                parse_box('Tuberculosis', box, where, size=True)
            )
        for number, name in names.items():
            yield Entry(
                name,
                root / 'imgs' / name,
                Path(name).stem,
                split,
                labels=dict(Tuberculosis=int(name.startswith('tb/'))),
                boxes=boxes[number],
            )


@release(
    'vindr_findings',
    shares=dict(train=0.7, val=0.1, test=0.2),
    hold_out=0.1,
    expected=dict(images=18000, test=3000),
    options=dict(readers='fuse', iou=0.4, rare='leave_out'),
)
def read_vindr_findings(
    root: Path,
    readers: str = 'fuse',
    iou: float = 0.4,
    rare: str = 'leave_out',
) -> Iterator[Entry]:
    """Read the boxes of VinDr-CXR: official tables or Kaggle's.

    Kaggle has no labels of the test images, so its train images are split.

    Args:
        root (Path): Folder of the release.
        readers (str): What becomes of the boxes of an image's readers:
            ``fuse`` by weighted boxes fusion, or ``all`` stay. Defaults to
            'fuse'. Test images have a consensus, which stays as it is.
        iou (float): See :func:`fuse_boxes`. Defaults to 0.4.
        rare (str): The official tables have eight more findings than
            Kaggle's: ``leave_out``, or ``other_lesion``, which counts them
            as that class. Defaults to 'leave_out'.
    """
    for option, value, known in (
        ('readers', readers, ('fuse', 'all')),
        ('rare', rare, ('leave_out', 'other_lesion')),
    ):
        if value not in known:
            raise UserError(
                f'Option {option} of vindr_findings is '
                f'{" or ".join(known)}, not "{value}".'
            )
    official = find_optional(
        root, 'annotations/annotations_train.csv', 'annotations_train.csv'
    )
    kaggle = find_optional(root, 'train.csv', 'annotations/train.csv')
    if official is None and kaggle is not None:
        parts = [('train', kaggle, None)]
    else:
        parts = [
            (
                split,
                find(
                    root,
                    f'annotations/annotations_{split}.csv',
                    f'annotations_{split}.csv',
                    holds=f'{vindr.HOLDS}, or train.csv of Kaggle',
                ),
                split,
            )
            for split in ('train', 'test')
        ]
    for folder, path, split in parts:
        drawn = _read_vindr_boxes(path, rare == 'other_lesion')
        for image, source in vindr.list_images(root, folder, drawn).items():
            boxes = sorted(drawn[image])
            if readers == 'fuse' and folder == 'train':
                boxes = _fuse(boxes, iou)
            yield Entry(
                f'{folder}/{image}.png', source, image, split, boxes=boxes
            )


def _read_vindr_boxes(path: Path, merge_rare: bool) -> dict:
    """Give the boxes of each image, [] for one without finding."""
    boxes: dict = {}
    for where, (image, label, *numbers) in Table(path).rows(
        'image_id', 'class_name', 'x_min', 'y_min', 'x_max', 'y_max'
    ):
        known = boxes.setdefault(image, [])
        name = vindr.find_label(label, where)
        if name in vindr.GLOBAL:  # "No finding" has no box
            continue
        if merge_rare and name in vindr.RARE:
            name = 'Other lesion'
        known.append(parse_box(name, numbers, where))
    return boxes


def _fuse(boxes: list, iou: float) -> list:
    """Fuse the boxes of each class."""
    fused = []
    for name in dict.fromkeys(box[0] for box in boxes):
        same = [box[1:] for box in boxes if box[0] == name]
        coordinates, _ = fuse_boxes(same, readers=3, iou=iou)
        fused += [(name, *map(float, box)) for box in coordinates]
    return fused
