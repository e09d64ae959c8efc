"""Which pairs of images are worth comparing: near in their descriptors."""

from typing import NamedTuple

import numpy as np

from fx_mm.audit.descriptors import (
    SHRINK,
    SIDE,
    Space,
    Variant,
    changed,
    describe,
    variants,
)
from fx_mm.audit.scan import Scan
from fx_mm.audit.thumbnails import WHOLE, Frame, content_frame
from fx_mm.utils.parallel import map_forked

SAMPLE = 20_000
"""Images from which the directions are taken."""
ALIKE = 0.4
"""Cosine of two descriptors from which their images are compared ..."""
NEIGHBOURS = 3
"""... if they are among the nearest of one of them, ..."""
FEW = 100
"""... of which few images have more, ..."""
CLOSE = 0.75
MANY = 50
"""... or closer than this, since an image may have many copies."""
WAYS = 4
"""Variants and frames in which a pair is compared."""
BATCH = 512
PRODUCTS = 1 << 24
"""Comparisons at a time; bounds the memory."""


class Candidate(NamedTuple):
    """Two images that resemble each other.

    Attributes:
        first (int): One of them.
        second (int): The other.
        variant (Variant): The change after which the first resembles the
            second.
        first_frame (Frame): What of its thumbnail does.
        second_frame (Frame): Likewise.
    """

    first: int
    second: int
    variant: Variant
    first_frame: Frame
    second_frame: Frame


def find_candidates(
    scan: Scan,
    heads: np.ndarray,
    flip: bool = True,
    workers: int | None = None,
) -> list[Candidate]:
    """Find pairs of images with similar descriptors.

    An image with a plain border is looked at with it and without.

    Args:
        scan (Scan): The images.
        heads (np.ndarray): Numbers of those to compare, shape (n,).
        flip (bool): Whether mirrored copies count. Defaults to True.
        workers (int, optional): Number of processes.

    Returns:
        list[Candidate]: Of positions in ``heads``; a pair in up to four ways.
    """
    if len(heads) < 2:
        return []
    owners, frames, values = _described(scan, heads, workers)
    step = -(-len(values) // SAMPLE)
    space = Space(values[::step].astype(np.float32))
    index = space(values.astype(np.float32))
    # of few images, the directions mean little
    alike = ALIKE * len(values) / (len(values) + SHRINK)
    neighbours = NEIGHBOURS + FEW // len(values)
    changes = variants(flip)

    def work(rows: range) -> np.ndarray:
        here = values[rows.start : rows.stop].astype(np.float32)
        mine = owners[rows.start : rows.stop]
        found = []
        for number, variant in enumerate(changes):
            scores = space(changed(here, variant)) @ index.T
            row, column = (scores > alike).nonzero()
            other = mine[row] != owners[column]
            row, column = row[other], column[other]
            which = np.full(len(row), number)
            score = scores[row, column]
            found.append(np.stack([row + rows.start, column, which, score], 1))
        return _nearest(np.concatenate(found), neighbours)

    size = max(1, PRODUCTS // len(values))
    jobs = [
        range(start, min(start + size, len(values)))
        for start in range(0, len(values), size)
    ]
    hits = np.concatenate(list(map_forked(work, jobs, workers)))
    best: dict[tuple[int, int], list[Candidate]] = {}
    for hit in hits[np.argsort(-hits[:, 3], kind='stable')]:
        i, j, number = hit[:3].astype(int).tolist()
        first, second = int(owners[i]), int(owners[j])
        pair = best.setdefault((min(first, second), max(first, second)), [])
        if len(pair) < WAYS:
            pair.append(
                Candidate(first, second, changes[number], frames[i], frames[j])
            )
    return [each for pair in best.values() for each in pair]


def _nearest(hits: np.ndarray, neighbours: int) -> np.ndarray:
    """Keep the nearest of each row (column 0; nearness is column 3)."""
    hits = hits[np.lexsort((-hits[:, 3], hits[:, 0]))]
    rank = np.arange(len(hits)) - np.searchsorted(hits[:, 0], hits[:, 0])
    return hits[rank < np.where(hits[:, 3] > CLOSE, MANY, neighbours)]


def _described(
    scan: Scan, heads: np.ndarray, workers: int | None
) -> tuple[np.ndarray, list[Frame], np.ndarray]:
    """Describe all images, those with a border twice.

    Returns:
        tuple: Whose descriptor it is, int64 (m,); of what of its thumbnail;
        float16 (m, 512).
    """

    def work(start: int) -> tuple[list[int], list[Frame], np.ndarray]:
        owners, frames, parts = [], [], []
        thumbs = scan.thumbs(heads[start : start + BATCH])
        for number, thumb in enumerate(thumbs, start):
            content = content_frame(thumb)
            bordered = content.enough and content != WHOLE
            for frame in (WHOLE, content) if bordered else (WHOLE,):
                owners.append(number)
                frames.append(frame)
                parts.append(frame.cut(thumb, SIDE))
        return owners, frames, describe(np.stack(parts)).astype(np.float16)

    results = list(map_forked(work, range(0, len(heads), BATCH), workers))
    owners = np.array([each for found, _, _ in results for each in found])
    frames = [frame for _, found, _ in results for frame in found]
    return owners, frames, np.concatenate([each for *_, each in results])
