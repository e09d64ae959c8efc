"""Masks: of another size than their image, empty, filling all of it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fx_mm.audit.findings import Finding
from fx_mm.audit.scan import MaskFile, Scan
from fx_mm.audit.task_splits import TaskSplit
from fx_mm.datasets.readers.masks import sources_of
from fx_mm.image_io.binary_masks import IGNORED
from fx_mm.image_io.masks import IGNORE

FULL = 0.95
"""Share of the image above which a mask is absurd."""


def mask_files(splits: list[TaskSplit]) -> list[MaskFile]:
    """Return the mask files of all splits, each once."""
    return list(
        dict.fromkeys(
            (source.path, source.code)
            for split in splits
            for sources in sources_of(split.records, split.task.classes)
            for source in sources
        )
    )


def find_mask_oddities(
    split: TaskSplit, masks: Scan, images: Scan
) -> Iterator[Finding]:
    """Look at the masks of a segmentation task's split.

    Args:
        split (TaskSplit): The split.
        masks (Scan): Of its mask files.
        images (Scan): Of its images.
    """
    classes = split.task.classes
    unreadable, sizes, empty, full = [], [], [], []
    ignoring: list[str] = []
    white: list[str] = []
    unnamed: list[str] = []
    in_maps = dict.fromkeys(classes, False)
    maps = total = 0
    for image, name, sources in zip(
        split.paths, split.names, sources_of(split.records, classes)
    ):
        number = images.index(image)
        shape = _shape(images.rows[number])
        for path, code, numbers, blank, _ in sources:
            index = masks.index((path, code))
            row = masks.rows[index]
            if row['error'] and not numbers:
                total += 1
                unreadable.append(f'{name}: {IGNORE}: {masks.error(index)}')
            if code.guesses_ignored and row['top'] == IGNORED:
                (ignoring if row['ignored'] else white).append(name)
            if code.is_map and not row['error']:
                maps += 1
                for label, area in zip(code.classes, row['areas']):
                    in_maps[label] |= bool(area)
                unnamed += [
                    f'{name}: {classes[n]}' for n in blank if row['areas'][n]
                ]
            for own_number, own in numbers:
                total += 1
                where = f'{name}: {classes[own_number]}'
                if row['error']:
                    unreadable.append(f'{where}: {masks.error(index)}')
                    continue
                area = row['areas'][own]
                if not images.rows['error'][number] and _shape(row) != shape:
                    sizes.append(
                        f'{where}: {_text(_shape(row))}, {_text(shape)}'
                    )
                # a label map need not have every class
                if area == 0 and not code.is_map:
                    empty.append(where)
                elif area > FULL * np.prod(_shape(row), dtype=np.int64):
                    full.append(where)
    mixed = ignoring if ignoring and white else []
    for check, level, found, text in (
        ('masks-unreadable', 'error', unreadable, 'cannot be read'),
        (
            'masks-mixed',
            'error',
            mixed,
            f'have 255 for ignored pixels, while {len(white)} have it for the '
            'class; write mask_format in the reader',
        ),
        (
            'masks-unnamed',
            'error',
            unnamed,
            'are there, though the cell of their class is blank',
        ),
        ('masks-size', 'error', sizes, 'have another size than their image'),
        ('masks-empty', 'warning', empty, 'are named but empty'),
        ('masks-full', 'warning', full, f'fill over {FULL:.0%} of the image'),
    ):
        if found:
            yield Finding(
                check,
                (split.name,),
                level,
                f'{len(found)} of {total} masks of {split.name} {text}.',
                len(found),
                found,
            )
    absent = [label for label, found in in_maps.items() if not found]
    if maps and absent:
        yield Finding(
            'masks-absent',
            (split.name,),
            'warning',
            f'No pixel of any of the {maps} label maps of {split.name} is of '
            f'{", ".join(absent)}; is mask_format right?',
            len(absent),
            absent,
        )


def _shape(row: np.void) -> tuple[Any, ...]:
    return int(row['height']), int(row['width'])


def _text(shape: tuple[Any, ...]) -> str:
    return f'{shape[1]}x{shape[0]}'
