"""The same image in two files: re-encoded, cropped, turned, written on."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from fx_mm.audit.alignment import SAME, similarity
from fx_mm.audit.candidates import Candidate, find_candidates
from fx_mm.audit.scan import Scan
from fx_mm.utils.parallel import chunked, track_forked

FLAT = 4
"""Grey values that an image must span to be compared: black is no copy."""
TIE = 0.01
"""Scores by which another way to see a pair must be better."""
BATCH = 64


class Pair(NamedTuple):
    """Two files with the same image.

    Attributes:
        first (str): Path of one.
        second (str): Path of the other.
        score (float): See :func:`~.alignment.similarity`; 1 if ``exact``.
        exact (bool): Whether the files are equal byte by byte.
        change (str): ``mirrored``, ``turned by 90 degrees``, ``upside down``,
            ``inverted``, several of them, or ''.
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
    of: Collection[str] | None = None,
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
        of (Collection[str], optional): Paths; only pairs with one of them are
            compared. Defaults to None: all.
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
    near = find_candidates(scan, heads, flip, workers)
    if of is not None:
        asked = {n for n, head in enumerate(heads) if scan.paths[head] in of}
        near = [c for c in near if not asked.isdisjoint((c.first, c.second))]
    same = _verified(scan, heads, near, invert, workers)
    for (first, second), (score, change) in sorted(same.items()):
        pairs += [
            Pair(scan.paths[i], scan.paths[j], score, change=change)
            for i in members[first]
            for j in members[second]
        ]
    return pairs


def _verified(
    scan: Scan,
    heads: np.ndarray,
    near: Sequence[Candidate],
    invert: bool,
    workers: int | None,
) -> dict[tuple[int, int], tuple[float, str]]:
    """Keep the candidates that show the same image, each pair once."""

    def work(here: Sequence[Candidate]) -> list[tuple[float, bool]]:
        firsts = scan.thumbs(heads[[each.first for each in here]])
        seconds = scan.thumbs(heads[[each.second for each in here]])
        return [
            similarity(
                each.second_frame.cut(second),
                each.variant.apply(each.first_frame.cut(first)),
                invert,
            )
            for each, first, second in zip(here, firsts, seconds)
        ]

    same: dict[tuple[int, int], tuple[float, str]] = {}
    for here, scores in track_forked(
        'Comparing similar images', work, chunked(near, BATCH), workers
    ):
        for each, (score, inverted) in zip(here, scores):
            first, second = sorted((each.first, each.second))
            known = same.get((first, second), (0.0, ''))[0]
            # an image that is symmetric counts as it is, which comes first
            if score >= SAME and score > known + TIE:
                words = [each.variant.text] * bool(each.variant.text)
                words += ['inverted'] * inverted
                same[first, second] = score, ', '.join(words)
    return same
