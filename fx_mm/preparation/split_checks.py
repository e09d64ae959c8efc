"""Whether every prepared file gets images, and whose."""

from collections import Counter
from collections.abc import Mapping, Sequence

from fx_mm.datasets.readers.patient_ids import unify_patients
from fx_mm.preparation.dataset_spec import DatasetSpec
from fx_mm.preparation.prepared_forms import FORMS
from fx_mm.preparation.raw_dataset import RawDataset, RawImage
from fx_mm.preparation.splits import shared_patients
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError


def check_splits(
    spec: DatasetSpec,
    raw: RawDataset,
    images: Sequence[RawImage],
    splits: Mapping[str, Sequence[str | None]],
    lists: Mapping[str, str],
) -> list[str]:
    """Check that every file gets images.

    Args:
        spec (DatasetSpec): Says which files.
        raw (RawDataset): Where the images are from.
        images (Sequence[RawImage]): The images.
        splits (Mapping): Form of annotation to the split of each image.
        lists (Mapping): Published lists that the splits were taken from.

    Returns:
        list[str]: Notes.

    Raises:
        UserError: If a file of drawn images would be empty, or a class of
            the labels is none of the raw dataset's.
    """
    notes = []
    unified = unify_patients(image.patient for image in images)
    if unified.variants:
        notes.append(unified.describe())
    for name, form in spec.forms.items():
        task = spec.task(name)
        having = [
            index
            for index, image in enumerate(images)
            if FORMS[name].has(image, raw)
        ]
        if not having:
            notes.append(
                f'the raw dataset has no {name} for {task}, whose files are '
                'not written'
            )
            continue
        chosen = [images[index] for index in having]
        if form is spec.labels:
            _check_classes(raw, task, form.classes, chosen)
        count = Counter(splits[name][index] for index in having)
        for split, file in form.files.items():
            if count[split]:
                continue
            if _is_drawn(raw, split, name, images, lists):
                patients = len({image.patient for image in chosen})
                raise UserError(
                    f'No image of {task} was drawn for "{split}": its '
                    f'{patients} patients are too few; take another --seed.'
                )
            notes.append(f'{file} is not written: no image is in {split}')
        if count[None]:
            notes.append(
                f'images of {task} that are in none of the lists: '
                f'{count[None]}'
            )
        shared = shared_patients(chosen, [splits[name][i] for i in having])
        if shared:
            notes.append(
                f'patients in several official splits of {task}: '
                f'{len(shared)}, such as "{shared[0]}"'
            )
    return notes


def _check_classes(
    raw: RawDataset,
    task: str,
    classes: Sequence[str],
    images: Sequence[RawImage],
) -> None:
    known = {name for image in images for name in image.labels or ()}
    for name in classes:
        if name not in known:
            raise UserError(
                f'Raw dataset "{raw.name}" has no label "{name}" (a class of '
                f'{task}); {suggest(name, known)}.'
            )


def _is_drawn(
    raw: RawDataset,
    split: str,
    form: str,
    images: Sequence[RawImage],
    lists: Mapping[str, str],
) -> bool:
    """Return whether the images of a split are drawn."""
    if form == 'boxes' and raw.box_split_ratios:
        return raw.box_split_ratios.get(split, 0) > 0
    if lists:
        return split == 'val' and 'val' not in lists
    official = {image.split for image in images}
    if None in official:
        return raw.split_ratios.get(split, 0) > 0
    return split == 'val' and 'val' not in official and raw.val_ratio > 0
