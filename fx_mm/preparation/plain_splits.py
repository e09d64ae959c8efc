"""Split the images of a folder that has no splits yet."""

import random

from fx_mm.datasets.readers.patient_ids import patient_key, unify_patients
from fx_mm.preparation.plain_folder import PlainFolder, file_stem
from fx_mm.tasks import SPLITS
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

SHARE = 0.15
"""Of the patients, in each of validation and test."""


def split_images(folder: PlainFolder, seed: int) -> dict[str, str]:
    """Assign every image to a split, by patient.

    Images of files that are of one split stay there, and so do all other
    images of their patients.

    Args:
        folder (PlainFolder): What is there.
        seed (int): Of the draw.

    Returns:
        dict[str, str]: Image to split.

    Raises:
        UserError: If files contradict each other, or patients are too few.
    """
    patients: dict[str, str] = {}
    split_of: dict[str, str] = {}
    for group in folder.groups:
        for split, each in group.items():
            patients |= each.patients
            for name in each.names:
                patients.setdefault(name, '')
                known = split_of.setdefault(name, split) if split else ''
                if known != split and split:
                    raise UserError(
                        f'{each.file}: image "{name}" is of the split '
                        f'"{split}" here, and of "{known}" elsewhere.'
                    )
    unified = unify_patients(filter(None, patients.values())).names
    owner = {
        name: patient_key(unified[patient]) if patient else f'image {name}'
        for name, patient in patients.items()
    }
    taken = {owner[name]: split for name, split in split_of.items()}
    free = sorted({owner[name] for name in owner} - set(taken))
    if free and not taken and len(free) < len(SPLITS):
        raise UserError(
            f'{folder.root}: has images of {len(free)} patients, which '
            'cannot be split into train, val and test.'
        )
    random.Random(seed).shuffle(free)
    count = max(1, round(SHARE * len(free))) if free else 0
    for number, patient in enumerate(free):
        taken[patient] = (
            'val' if number < count else
            'test' if number < 2 * count else 'train'
        )  # fmt: skip
    return {name: split_of.get(name, taken[owner[name]]) for name in owner}


def write_splits(
    folder: PlainFolder, split_of: dict[str, str]
) -> dict[str, dict[str, str]]:
    """Write the files of the splits beside those of all images.

    Args:
        folder (PlainFolder): What is there.
        split_of (dict[str, str]): Image to split.

    Returns:
        dict: Task kind to split to file, relative to the folder.
    """
    written: dict[int, dict[str, str]] = {}
    for number, group in enumerate(folder.groups):
        written[number] = {s: each.file.name for s, each in group.items()}
        if '' not in group:
            continue
        each = group['']
        stem, suffix = file_stem(each.file)
        written[number] = {s: f'{stem}_{s}{suffix}' for s in SPLITS}
        for split, name in written[number].items():
            names = {n for n in each.names if split_of[n] == split}
            write_whole(folder.root / name, each.subset(names))
    return {
        kind: written[folder.groups.index(group)]
        for kind, group in folder.tasks.items()
    }
