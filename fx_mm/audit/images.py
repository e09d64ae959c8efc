"""Images that are odd: unreadable, flat, tiny, black, negative, ..."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fx_mm.audit.findings import Finding
from fx_mm.audit.scan import MISSING, Scan
from fx_mm.audit.task_splits import TaskSplit
from fx_mm.audit.thumbnails import normalised
from fx_mm.datasets.readers.images import FileIndex
from fx_mm.datasets.readers.patients import reader_of

FLAT = 8
"""Grey values that an image should span."""
TINY = 64
"""Pixels along the shorter side."""
LONG = 2.0
"""Longer side over shorter side."""
UNIFORM = 0.9
"""Share of (nearly) black or white pixels."""
NEGATIVE = -0.4
"""Correlation with the dataset's mean image. Of 3600 phantoms half have over
0.64, all but 1 % over 0.07, the lowest -0.34."""
ENOUGH = 20
"""Images that make a mean."""
TYPICAL = 2000
"""Images of a dataset from which its mean is taken."""
BATCH = 1024


def find_missing_images(splits: Iterable[TaskSplit]) -> Iterator[Finding]:
    """Look for the images that do not exist, without reading any.

    Args:
        splits (Iterable[TaskSplit]): The splits.
    """
    files = FileIndex()
    places: dict[str, dict[str, bool]] = {}
    refused = set()
    for split in splits:
        there = {path: path in files for path in split.paths}
        places.setdefault(split.place, {}).update(there)
        gone = len(there) - sum(there.values())
        if gone > reader_of(split.task).max_missing * len(there):
            refused.add(split.place)
    for place, there in places.items():
        gone_paths = [path for path, here in there.items() if not here]
        if not gone_paths:
            continue
        # only training replaces them
        fails = place in refused or not place.endswith('/train')
        yield Finding(
            'missing-images',
            (place,),
            'error' if fails else 'warning',
            f'{len(gone_paths)} of {len(there)} images of {place} do not '
            'exist.',
            len(gone_paths),
            gone_paths,
        )


def find_odd_images(
    splits: Iterable[TaskSplit], scan: Scan
) -> tuple[list[Finding], dict[Any, Any]]:
    """Look at what was read of the images.

    Args:
        splits (Iterable[TaskSplit]): The splits.
        scan (Scan): Of all their images.

    Returns:
        tuple: The findings; check to the odd images, paths, for a picture.
    """
    places: dict[Any, Any] = {}
    datasets: dict[Any, Any] = {}
    for split in splits:
        numbers = [scan.index(path) for path in split.paths]
        places.setdefault(split.place, set()).update(numbers)
        datasets.setdefault(split.task.dataset, set()).update(numbers)
    masks = _odd(scan.rows)
    masks['inverted-images'] = np.zeros(len(scan), bool)
    means = {}
    for name, members in datasets.items():
        members = np.array(sorted(members))
        members = members[scan.rows['error'][members] == b'']
        if len(members) >= ENOUGH:
            means[name], negative = _negatives(scan, members)
            masks['inverted-images'][negative] = True
    findings = list(_inverted_datasets(means))
    pictures: dict[str, list[str]] = {}
    for check, mask in masks.items():
        for place, numbers in places.items():
            level, text = TEXTS[check]
            found = sorted(number for number in numbers if mask[number])
            if not found:
                continue
            paths = [scan.paths[number] for number in found]
            if check != 'unreadable-images':
                pictures.setdefault(check, []).extend(paths)
            elif not place.endswith('/train'):
                # only training replaces them
                level = 'error'
            findings.append(
                Finding(
                    check,
                    (place,),
                    level,
                    f'{len(found)} of {len(numbers)} images of {place} '
                    f'{text}.',
                    len(found),
                    [_example(scan, number) for number in found[:20]],
                )
            )
    return findings, pictures


TEXTS = {
    'unreadable-images': ('warning', 'cannot be read'),
    'flat-images': ('warning', f'span fewer than {FLAT} grey values'),
    'tiny-images': ('warning', f'have a side of fewer than {TINY} pixels'),
    'long-images': ('warning', f'are over {LONG:g} times as long as wide'),
    'black-images': ('warning', f'are over {UNIFORM:.0%} black'),
    'white-images': ('warning', f'are over {UNIFORM:.0%} white'),
    'inverted-images': ('warning', "look like negatives of the dataset's"),
}


def _odd(rows: np.ndarray) -> dict[Any, Any]:
    broken = rows['error'] != b''
    flat = rows['high'].astype(int) - rows['low'] < FLAT
    height, width = rows['height'], rows['width']
    short, long = np.minimum(height, width), np.maximum(height, width)
    odd = {
        'flat-images': flat,
        'tiny-images': short < TINY,
        'long-images': long > LONG * short,
        'black-images': (rows['black'] > UNIFORM) & ~flat,
        'white-images': (rows['white'] > UNIFORM) & ~flat,
    }
    found = {check: mask & ~broken for check, mask in odd.items()}
    unreadable = broken & (rows['error'] != MISSING)
    return {'unreadable-images': unreadable, **found}


def _example(scan: Scan, number: int) -> str:
    row = scan.rows[number]
    if row['error']:
        return f'{scan.paths[number]}: {scan.error(number)}'
    return (
        f'{scan.paths[number]}: {row["width"]}x{row["height"]}, '
        f'values {row["low"]} to {row["high"]}'
    )


def _negatives(scan: Scan, members: np.ndarray) -> tuple[Any, ...]:
    """Return the mean image of a dataset and those that are its negative."""
    step = -(-len(members) // TYPICAL)
    mean = normalised(scan.thumbs(members[::step])).mean(0)
    unit = normalised(mean[None]).ravel() / mean.size
    negative = []
    for start in range(0, len(members), BATCH):
        here = members[start : start + BATCH]
        thumbs = normalised(scan.thumbs(here)).reshape(len(here), -1)
        negative += here[thumbs @ unit < NEGATIVE].tolist()
    return mean, negative


def _inverted_datasets(means: dict[Any, Any]) -> Iterator[Finding]:
    for name, mean in means.items():
        others = [other for key, other in means.items() if key != name]
        if not others:
            continue
        pair = normalised(np.stack([mean, np.mean(others, 0)]))
        if (pair[0] * pair[1]).mean() < NEGATIVE:
            yield Finding(
                'inverted-dataset',
                (name,),
                'warning',
                f'The mean image of {name} looks like the negative of that '
                'of the other datasets: is bone dark in one of them '
                '(MONOCHROME1)?',
            )
