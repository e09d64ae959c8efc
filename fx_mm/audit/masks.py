"""Masks: of another size than their image, empty, filling all of it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fx_mm.audit.findings import Finding
from fx_mm.audit.scan import Scan
from fx_mm.audit.task_splits import TaskSplit, column
from fx_mm.datasets.readers.masks import split_bit

FULL = 0.95
"""Share of the image above which a mask is absurd."""


def mask_files(splits: list[TaskSplit]) -> list[str]:
    """Return the mask files of all splits, each once."""
    found: dict[Any, Any] = {}
    for split in splits:
        if split.records.has('mask_paths'):
            for paths in column(split.records, 'mask_paths'):
                for path in paths.values():
                    if path is not None:
                        found[split_bit(path)[0]] = None
    return list(found)


def find_mask_oddities(
    split: TaskSplit, masks: Scan, images: Scan
) -> Iterator[Finding]:
    """Look at the masks of a segmentation task's split.

    Args:
        split (TaskSplit): The split.
        masks (Scan): Of its mask files.
        images (Scan): Of its images.
    """
    unreadable, sizes, empty, full = [], [], [], []
    total = 0
    for image, name, paths in zip(
        split.paths, split.names, column(split.records, 'mask_paths')
    ):
        number = images.index(image)
        shape = _shape(images.rows[number])
        for label, path in paths.items():
            if path is None:
                continue
            total += 1
            file, bit = split_bit(path)
            index = masks.index(file)
            row = masks.rows[index]
            where = f'{name}: {label}'
            if row['error']:
                unreadable.append(f'{where}: {masks.error(index)}')
                continue
            area = row['inside'] if bit is None else row['areas'][bit]
            if not images.rows['error'][number] and _shape(row) != shape:
                sizes.append(f'{where}: {_text(_shape(row))}, {_text(shape)}')
            if area == 0:
                empty.append(where)
            elif area > FULL * np.prod(_shape(row), dtype=np.int64):
                full.append(where)
    for check, level, found, text in (
        ('masks-unreadable', 'error', unreadable, 'cannot be read'),
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


def _shape(row: np.void) -> tuple[Any, ...]:
    return int(row['height']), int(row['width'])


def _text(shape: tuple[Any, ...]) -> str:
    return f'{shape[1]}x{shape[0]}'
