"""Which split an image goes to; splits that are drawn share no patient."""

import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence

from fx_mm.datasets.readers.patient_ids import unify_patients
from fx_mm.image_io.xray import IMAGE_SUFFIXES
from fx_mm.preparation.prepared_forms import FORMS
from fx_mm.preparation.prepared_image import PreparedRecord
from fx_mm.preparation.raw_dataset import RawDataset, RawImage
from fx_mm.preparation.skipped import Skipped
from fx_mm.tasks import SPLITS
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_lines as read_text_lines

_VAL_RATIO = 0.1


def patient_number(patient: str, seed: int) -> float:
    """Return a patient's number in 0..1, which decides all draws.

    It depends on the patient and the seed alone, so that further images or
    patients leave the splits of the others as they are.
    """
    digest = hashlib.sha256(f'{seed}:{patient}'.encode()).digest()
    return int.from_bytes(digest[:8], 'big') / 2**64


def draw_split(ratios: Mapping[str, float], number: float) -> str:
    """Return the split in whose range a number falls.

    Args:
        ratios (Mapping): Split to its ratio, of any sum.
        number (float): In 0..1.

    Returns:
        str: train, val or test.
    """
    splits = [split for split in SPLITS if ratios.get(split, 0) > 0]
    number *= sum(ratios[split] for split in splits)
    for split in splits[:-1]:
        number -= ratios[split]
        if number < 0:
            return split
    return splits[-1]


def split_images(
    images: Sequence[RawImage],
    raw: RawDataset,
    wanted: Collection[str],
    skipped: Skipped,
    seed: int = 0,
    lists: Mapping[str, str] | None = None,
) -> dict[str, list[str | None]]:
    """Assign every image to a split, for each form of annotation.

    Official splits stay, but for validation: where there is none, it is held
    out of the training split by patient. Images without an official split
    follow their patient's other images, else are drawn by patient. The forms
    differ only where a raw dataset has ``box_split_ratios``.

    Args:
        images (Sequence[RawImage]): The images.
        raw (RawDataset): Has the ratios.
        wanted (Collection[str]): Splits that are asked for; without ``val``
            nothing is held out.
        skipped (Skipped): Takes rows of the lists that name no image.
        seed (int): Of the draws. Defaults to 0.
        lists (Mapping, optional): Split to the path of a published list,
            which takes the place of the official splits. Defaults to None.

    Returns:
        dict[str, list]: Form of annotation to one split per image; None if
        the image is in no list.

    Raises:
        UserError: If a list cannot be used, or an image has no split and the
            raw dataset no ratios.
    """
    official = [image.split for image in images]
    val_ratio = raw.val_ratio
    if lists:
        official = read_lists(images, lists, skipped)
        val_ratio = val_ratio or raw.split_ratios.get('val') or _VAL_RATIO
    for image, split in zip(images, official):
        if split is not None and split not in SPLITS:
            raise UserError(
                f'Image "{image.name}" of raw dataset "{raw.name}" is in '
                f'split "{split}"; splits are {", ".join(SPLITS)}.'
            )
    unified = unify_patients(image.patient for image in images)
    patients = [unified.names[image.patient] for image in images]
    numbers = [patient_number(patient, seed) for patient in patients]
    splits = list(official)
    if 'val' in wanted and 'val' not in official:
        for index, split in enumerate(official):
            if split == 'train' and numbers[index] < val_ratio:
                splits[index] = 'val'
    if not lists:
        _draw_missing(images, patients, splits, raw, numbers)
    by_form = dict.fromkeys(FORMS, splits)
    if raw.box_split_ratios:
        by_form['boxes'] = [
            split and draw_split(raw.box_split_ratios, number)
            for split, number in zip(splits, numbers)
        ]
    return by_form


def _draw_missing(
    images: Sequence[RawImage],
    patients: Sequence[str],
    splits: list[str | None],
    raw: RawDataset,
    numbers: Sequence[float],
) -> None:
    """Assign a split to the images that have none."""
    # Should official splits share a patient, the rest of the patient's
    # images stay out of training.
    follow: dict[str, str] = {}
    for key, split in zip(patients, splits):
        if split is not None:
            follow[key] = max(split, follow.get(key, split), key=SPLITS.index)
    for index, image in enumerate(images):
        if splits[index] is not None:
            continue
        split = follow.get(patients[index])
        if split is None and not raw.split_ratios:
            raise UserError(
                f'Image "{image.name}" has no split, and raw dataset '
                f'"{raw.name}" no ratios to draw it with.'
            )
        splits[index] = split or draw_split(raw.split_ratios, numbers[index])


def shared_patients(
    images: Sequence[RawImage | PreparedRecord],
    splits: Sequence[str | None],
) -> list[str]:
    """List the patients that are in several splits, sorted."""
    first: dict[str, str] = {}
    found = set()
    names = unify_patients(image.patient for image in images).names
    for image, split in zip(images, splits):
        patient = names[image.patient]
        if split and first.setdefault(patient, split) != split:
            found.add(patient)
    return sorted(found)


def read_lists(
    images: Sequence[RawImage], lists: Mapping[str, str], skipped: Skipped
) -> list[str | None]:
    """Match the rows of published lists with images.

    The first cell or word of a row names the image, with or without folders
    and suffix; further cells do not matter. Rows that name no image (such as
    a header) are counted.

    Args:
        images (Sequence[RawImage]): The images.
        lists (Mapping): Split to the path of its list.
        skipped (Skipped): Takes rows that name no image.

    Returns:
        list[str | None]: One split per image; None if it is in no list.

    Raises:
        UserError: If a list cannot be read, fits no image, or fits several
            images in one row; or if an image is in two.
    """
    names = {image.name for image in images}
    keys = {_key(name): name for name in names}
    tails: _Tails = {}
    found: dict[str, str] = {}
    for split, path in lists.items():
        matched, others = 0, []
        for number, row in enumerate(_rows(path), 1):
            if not row:
                continue
            where = f'{path}, row {number}'
            # names may hold blanks
            name = _match(
                re.split('[,;\t]', row)[0], keys, tails, where
            ) or _match(re.split(r'[,;\s]', row)[0], keys, tails, where)
            if name is None:
                others.append(row)
                continue
            matched += 1
            if found.setdefault(name, split) != split:
                raise UserError(
                    f'{where}: image "{name}" is already in the list of '
                    f'{found[name]}; a split has each image once.'
                )
        if not matched:
            raise UserError(
                f'{path}: names none of the {len(names)} images in the first '
                'cell of its rows.'
            )
        if others:
            skipped.add(
                len(others),
                f'rows of {os.path.basename(path)} that name no image, such '
                f'as "{others[0][:60]}"',
            )
    return [found.get(image.name) for image in images]


_Key = tuple[str, ...]
_Tails = dict[int, dict[_Key, list[str]]]


def _rows(path: str) -> list[str]:
    """Return the rows, stripped, also those without text."""
    hint = 'it is the published list of a split'
    return [line.strip() for line in read_text_lines(path, hint)]


def _key(name: str) -> _Key:
    """Split a name into folders and stem."""
    name = cut_suffix(name)
    return tuple(word for word in name.split('/') if word not in ('', '.'))


def cut_suffix(name: str) -> str:
    """Cut off all suffixes of images (``1.2.3.dcm.jpeg``) from a name.

    Others stay: in the names of DICOM files not every point begins a suffix.
    """
    while (cut := os.path.splitext(name))[1].lower() in IMAGE_SUFFIXES:
        name = cut[0]
    return name


def _match(
    row: str, keys: Mapping[_Key, str], tails: _Tails, where: str
) -> str | None:
    """Find the image that agrees in its stem and most of its last folders."""
    key = _key(row.strip('"\' '))
    for depth in range(len(key), 0, -1):
        if depth not in tails:
            tails[depth] = _by_tail(keys, depth)
        names = tails[depth].get(key[-depth:])
        if names is None:
            continue
        if len(names) > 1:
            raise UserError(
                f'{where}: "{row}" fits {names[0]} and {names[1]}; write '
                'more of its folders.'
            )
        return names[0]
    return None


def _by_tail(keys: Mapping[_Key, str], depth: int) -> dict[_Key, list[str]]:
    """Map the last ``depth`` words of the names to at most two of them."""
    table: dict[_Key, list[str]] = {}
    for key, name in keys.items():
        names = table.setdefault(key[-depth:], [])
        if len(names) < 2:
            names.append(name)
    return table
