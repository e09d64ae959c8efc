"""RSNA Pneumonia Detection Challenge: a row per box, a class per image."""

from collections.abc import Iterator

from fx_mm.preparation.cell_values import parse_box, parse_label
from fx_mm.preparation.raw_dataset import Box, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

CLASSES = ('Normal', 'No Lung Opacity/Not Normal', 'Lung Opacity')


@raw_dataset(
    'rsna',
    classes=CLASSES,
    holds='stage_2_train_images/, stage_2_train_labels.csv and '
    'stage_2_detailed_class_info.csv',
    split_ratios=dict(train=0.8, val=0.1, test=0.1),
    official_counts={
        'images': 26684,
        'Normal': 8851,
        'No Lung Opacity/Not Normal': 11821,
        'Lung Opacity': 6012,
    },
)
def read_rsna(folder: RawFolder) -> Iterator[RawImage]:
    """Read the training images, whose labels are public.

    They are ChestX-ray14's; with the official mapping of names they are
    split by its patients.
    """
    boxes: dict[str, list[Box]] = {}
    table = folder.open_table(folder.find('stage_2_train_labels.csv'))
    for where, (image, target, *numbers) in table.rows(
        'patientId', 'Target', 'x', 'y', 'width', 'height'
    ):
        known = boxes.setdefault(image, [])
        if parse_label(target, where) == 1:
            known.append(parse_box('Lung Opacity', numbers, where, size=True))
    classes = {}
    table = folder.open_table(folder.find('stage_2_detailed_class_info.csv'))
    for where, (image, name) in table.rows('patientId', 'class'):
        name = name.replace(' / ', '/')
        if name not in CLASSES:
            raise UserError(
                f'{where}: unknown class "{name}"; known: '
                f'{", ".join(CLASSES)}.'
            )
        classes[image] = name
    patients = _read_patients(folder)
    for image, found in boxes.items():
        if image not in classes:
            raise UserError(
                f'{table.path}: has no row for image {image}; is the file '
                'whole?'
            )
        yield RawImage(
            f'{image}.png',
            folder.root / 'stage_2_train_images' / f'{image}.dcm',
            patients.get(image, image),
            labels={c: int(c == classes[image]) for c in CLASSES},
            boxes=found,
        )


def _read_patients(folder: RawFolder) -> dict[str, str]:
    """Return the patient of each image, {} without the official mapping."""
    path = folder.find_optional(
        'pneumonia-challenge-dataset-mappings_2018.json'
    )
    if path is None:
        return {}
    # names of ChestX-ray14 begin with the patient, such as 00000001_000.png
    return {
        image: original.split('_')[0]
        for _, (image, original) in folder.read_records(
            path, 'subset_img_id', 'img_id'
        )
    }
