"""Which part an image goes to; a patient is never in two that are drawn."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence

from fx_mm.datasets.io.xray import IMAGE_SUFFIXES
from fx_mm.preparation.entries import Entry, Release
from fx_mm.preparation.skipped import leave_out
from fx_mm.tasks import SPLITS
from fx_mm.utils.errors import UserError

_HOLD_OUT = 0.1


def patient_number(patient: str, seed: int) -> float:
    """Give a patient's number in 0..1, on which all drawing rests.

    It depends on the patient and the seed alone, so that further images or
    patients leave the parts of the others as they are.
    """
    digest = hashlib.sha256(f'{seed}:{patient}'.encode()).digest()
    return int.from_bytes(digest[:8], 'big') / 2**64


def draw_part(shares: dict, number: float) -> str:
    """Give the part in whose share a number falls.

    Args:
        shares (dict): Part to its share, of any sum.
        number (float): In 0..1.

    Returns:
        str: train, val or test.
    """
    parts = [part for part in SPLITS if shares.get(part, 0) > 0]
    number *= sum(shares[part] for part in parts)
    for part in parts[:-1]:
        number -= shares[part]
        if number < 0:
            return part
    return parts[-1]


def split_entries(
    entries: Sequence[Entry],
    release: Release,
    parts: Iterable[str],
    seed: int = 0,
    lists: dict | None = None,
) -> dict:
    """Give every image its part, for each kind of annotation.

    Official parts stay, but for the validation part: where there is none, it
    is held out of the training part by patient. Images without an official
    part follow their patient's other images, else are drawn by patient. The
    kinds differ only where a release has ``box_shares``.

    Args:
        entries (Sequence[Entry]): The images.
        release (Release): Gives shares and hold-out.
        parts (Iterable[str]): Parts that are asked for; without ``val``
            nothing is held out.
        seed (int): Of the drawing. Defaults to 0.
        lists (dict, optional): Part to the path of a published list, which
            takes the place of the official parts. Defaults to None.

    Returns:
        dict[str, list]: cls, loc and seg to a part an entry; None if the
        image is in no list.

    Raises:
        UserError: If a list cannot be used, or an image has no part and the
            release no shares.
    """
    official = [entry.split for entry in entries]
    share = release.hold_out
    if lists:
        official = read_lists(entries, lists)
        share = share or release.shares.get('val') or _HOLD_OUT
    for entry, part in zip(entries, official):
        if part is not None and part not in SPLITS:
            raise UserError(
                f'Image "{entry.name}" of release "{release.name}" is in '
                f'part "{part}"; parts are {", ".join(SPLITS)}.'
            )
    numbers = [patient_number(entry.patient, seed) for entry in entries]
    split = list(official)
    if 'val' in parts and 'val' not in official:
        for index, part in enumerate(official):
            if part == 'train' and numbers[index] < share:
                split[index] = 'val'
    if not lists:
        _fill(entries, split, release, numbers)
    boxes = split
    if release.box_shares:
        boxes = [
            part and draw_part(release.box_shares, number)
            for part, number in zip(split, numbers)
        ]
    return dict(cls=split, loc=boxes, seg=split)


def _fill(entries, split: list, release: Release, numbers: list) -> None:
    """Give a part to the images that have none."""
    # Should an official split share a patient, the rest of the patient's
    # images stay out of training.
    follow: dict = {}
    for entry, part in zip(entries, split):
        if part is not None:
            key = entry.patient
            follow[key] = max(part, follow.get(key, part), key=SPLITS.index)
    for index, entry in enumerate(entries):
        if split[index] is not None:
            continue
        part = follow.get(entry.patient)
        if part is None and not release.shares:
            raise UserError(
                f'Image "{entry.name}" has no part, and release '
                f'"{release.name}" no shares to draw it with.'
            )
        split[index] = part or draw_part(release.shares, numbers[index])


def shared_patients(entries: Sequence[Entry], split: Sequence) -> list:
    """List the patients that are in several parts, sorted."""
    first: dict = {}
    found = set()
    for entry, part in zip(entries, split):
        if part and first.setdefault(entry.patient, part) != part:
            found.add(entry.patient)
    return sorted(found)


def read_lists(entries: Sequence[Entry], lists: dict) -> list:
    """Match the rows of published lists with images.

    The first cell or word of a row names the image, with or without folders
    and suffix; further cells play no part. Rows that name no image (such as
    a header) are counted.

    Args:
        entries (Sequence[Entry]): The images.
        lists (dict): Part to the path of its list.

    Returns:
        list[Optional[str]]: One an entry; None if it is in no list.

    Raises:
        UserError: If a list cannot be read, fits no image, or fits several
            images in one row; or if an image is in two.
    """
    names = {entry.name for entry in entries}
    keys = {_key(name): name for name in names}
    tails: dict = {}
    found: dict = {}
    for part, path in lists.items():
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
            if found.setdefault(name, part) != part:
                raise UserError(
                    f'{where}: image "{name}" is already in the list of '
                    f'{found[name]}; a split has each image once.'
                )
        if not matched:
            raise UserError(
                f'{path}: names none of the {len(names)} images of the '
                'release in the first cell of its rows.'
            )
        if others:
            leave_out(
                len(others),
                f'rows of {os.path.basename(path)} that name no image of '
                f'the release, such as "{others[0][:60]}"',
            )
    return [found.get(entry.name) for entry in entries]


def _rows(path: str) -> list:
    """Give the rows without blanks around, also those without text."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            lines = file.read().split('\n')
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: is not UTF-8 text.') from error
    return [line.strip() for line in lines]


def _key(name: str) -> tuple:
    """Split a name into folders and stem."""
    name = cut_suffix(name)
    return tuple(part for part in name.split('/') if part not in ('', '.'))


def cut_suffix(name: str) -> str:
    """Cut off what ends an image's name, all of it (``1.2.3.dcm.jpeg``).

    Other suffixes stay: names of DICOM files have points that end nothing.
    """
    while (cut := os.path.splitext(name))[1].lower() in IMAGE_SUFFIXES:
        name = cut[0]
    return name


def _match(row: str, keys: dict, tails: dict, where: str) -> str | None:
    """Find the image that agrees in most of its last folders and its stem."""
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


def _by_tail(keys: dict, depth: int) -> dict:
    """Map the last ``depth`` words of the names to at most two of them."""
    table: dict = {}
    for key, name in keys.items():
        names = table.setdefault(key[-depth:], [])
        if len(names) < 2:
            names.append(name)
    return table
