"""How files were read: what to say of those that were read with a warning."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fx_mm.audit.findings import Finding
from fx_mm.audit.masks import mask_files
from fx_mm.audit.scan import Scan
from fx_mm.audit.task_splits import TaskSplit

KINDS = 3
"""Kinds of warnings that a message tells, the most frequent ones."""
_NUMBER = re.compile(r'[-+]?\d[\d.]*(e[-+]?\d+)?')


def find_image_warnings(
    splits: Iterable[TaskSplit], images: Scan
) -> Iterator[Finding]:
    """Sum up the warnings with which the images of a split were read."""
    places: dict[str, list[str]] = {}
    for split in splits:
        places.setdefault(split.place, []).extend(split.paths)
    return _find_warnings(places, images, 'images')


def find_mask_warnings(
    splits: Iterable[TaskSplit], masks: Scan
) -> Iterator[Finding]:
    """Sum up the warnings with which the masks of a task were read."""
    places = {split.name: mask_files([split]) for split in splits}
    return _find_warnings(places, masks, 'masks')


def _find_warnings(
    places: Mapping[str, Sequence[Any]], scan: Scan, what: str
) -> Iterator[Finding]:
    """Sum up warnings by place and kind.

    Args:
        places (Mapping): Name of a place to its files in the scan.
        scan (Scan): Of all the files.
        what (str): What they are.
    """
    readings = dict(zip(scan.paths, scan.readings()))
    for place, files in places.items():
        paths = dict.fromkeys(files)
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        examples = []
        for path in paths:
            warnings = readings[path].get('warnings', ())
            for warning in warnings:
                # numbers differ from file to file
                kind = _NUMBER.sub('#', warning)
                first.setdefault(kind, warning)
                counts[kind] += 1
            if warnings:
                name = path if isinstance(path, str) else path[0]
                examples.append(f'{name}: {" ".join(warnings)}')
        if not examples:
            continue
        told = [f'{n} x "{first[k]}"' for k, n in counts.most_common(KINDS)]
        more = len(counts) - len(told)
        told += [f'{more} more kinds'] * (more > 0)
        yield Finding(
            'reading-warnings',
            (place,),
            'warning',
            f'{len(examples)} of {len(paths)} {what} of {place} were read '
            f'with a warning: {"; ".join(told)}.',
            len(examples),
            examples,
        )
