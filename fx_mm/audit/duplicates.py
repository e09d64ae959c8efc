"""The same image in two files: resized, re-encoded, windowed, cropped."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fx_mm.audit.alignment import SAME, similarity
from fx_mm.audit.hashing import (
    CROPS,
    SAMPLE,
    Variant,
    changed,
    coefficients,
    pack,
    thresholds,
    variants,
)
from fx_mm.audit.scan import Scan
from fx_mm.audit.search import HashIndex
from fx_mm.utils.parallel import chunked, map_forked, track_forked

FLAT = 4
"""Grey values that an image must span to be compared: black is no copy."""
FINE = 58
"""Of the 192 higher bits, those that may differ. Measured: at most 58 between
copies (cropped by 4 % on two sides), 96 +- 9 between different images."""
BATCH = 512


class Pair(NamedTuple):
    """Two files with the same image.

    Attributes:
        first (str): Path of one.
        second (str): Path of the other.
        score (float): See :func:`~.alignment.similarity`; 1 if ``exact``.
        exact (bool): Whether the files are equal byte by byte.
        change (str): ``mirrored``, ``inverted``, both, or ''.
    """

    first: str
    second: str
    score: float
    exact: bool = False
    change: str = ''


def find_pairs(
    scan: Scan,
    flip: bool = True,
    invert: bool = True,
    workers: int | None = None,
) -> list[Pair]:
    """Find all pairs of files that hold the same image.

    Of equal files, one is compared with the rest of the world; its copies
    share what is found.

    Args:
        scan (Scan): The images.
        flip (bool): Whether mirrored copies count. Defaults to True.
        invert (bool): Whether inverted copies count. Defaults to True.
        workers (int, optional): Number of processes. Defaults to the number
            of available cores.
    """
    rows = scan.rows
    usable = (rows['error'] == b'') & (
        rows['high'].astype(int) - rows['low'] >= FLAT
    )
    groups: dict[Any, Any] = {}
    for index in usable.nonzero()[0]:
        groups.setdefault(rows['digest'][index].tobytes(), []).append(index)
    pairs = [
        Pair(scan.paths[members[0]], scan.paths[other], 1.0, exact=True)
        for members in groups.values()
        for other in members[1:]
    ]
    members = list(groups.values())
    heads = np.array([group[0] for group in members], np.int64)
    near = candidates(scan, heads, flip, invert, workers)
    for first, second, score, change in _verified(scan, heads, near, workers):
        pairs += [
            Pair(scan.paths[i], scan.paths[j], score, change=change)
            for i in members[first]
            for j in members[second]
        ]
    return pairs


def candidates(
    scan: Scan,
    heads: np.ndarray,
    flip: bool = True,
    invert: bool = True,
    workers: int | None = None,
) -> list[tuple[int, int, Variant]]:
    """Find pairs of images with similar hashes.

    Args:
        scan (Scan): The images.
        heads (np.ndarray): Numbers of those to compare, shape (n,).
        flip (bool): Whether mirrored copies count. Defaults to True.
        invert (bool): Whether inverted copies count. Defaults to True.
        workers (int, optional): Number of processes.

    Returns:
        list[tuple]: Two positions in ``heads`` and the variant of the first
        that resembles the second most.
    """
    if len(heads) < 2:
        return []
    changes = variants(flip, invert)
    hashes = _hashes(scan, heads, changes, workers)
    index = HashIndex(hashes[0, :, 0])
    best: dict[Any, Any] = {}
    for variant, asked in zip(changes, hashes):
        near = index.near(asked[:, 0])
        fine = asked[near[:, 0], 1:] ^ hashes[0, near[:, 1], 1:]
        differing = np.bitwise_count(fine).sum(1)
        keep = differing <= FINE
        bits = (near[:, 2] + differing)[keep].tolist()
        for (first, second, _), total in zip(near[keep].tolist(), bits):
            key = (min(first, second), max(first, second))
            if key not in best or total < best[key][0]:
                best[key] = (total, first, second, variant)
    return [entry[1:] for _, entry in sorted(best.items())]


def _hashes(
    scan: Scan,
    heads: np.ndarray,
    changes: Sequence[Variant],
    workers: int | None,
) -> np.ndarray:
    """Return the hashes of all variants, uint64 (V, n, 4)."""
    step = -(-len(heads) // SAMPLE)
    limits = thresholds(coefficients(scan.thumbs(heads[::step])))

    def work(start: int) -> np.ndarray:
        thumbs = scan.thumbs(heads[start : start + BATCH])
        values = {crop: coefficients(thumbs, crop) for crop in CROPS}
        return np.stack(
            [pack(changed(values[v.crop], v), limits) for v in changes]
        )

    jobs = range(0, len(heads), BATCH)
    return np.concatenate(list(map_forked(work, jobs, workers)), axis=1)


def _verified(
    scan: Scan,
    heads: np.ndarray,
    near: Sequence[tuple[Any, ...]],
    workers: int | None,
) -> list[tuple[Any, ...]]:
    """Keep the candidates that show the same image."""

    def work(here: Sequence[tuple[Any, ...]]) -> list[float]:
        firsts = scan.thumbs(heads[[entry[0] for entry in here]])
        seconds = scan.thumbs(heads[[entry[1] for entry in here]])
        # The second is what became of the first: the first is changed.
        return [
            similarity(second, first, entry[2])
            for first, second, entry in zip(firsts, seconds, here)
        ]

    same = []
    for here, scores in track_forked(
        'Comparing similar images', work, chunked(near, BATCH), workers
    ):
        for entry, score in zip(here, scores):
            if score >= SAME:
                first, second = sorted(entry[:2])
                same.append((first, second, score, entry[2].text))
    return same
