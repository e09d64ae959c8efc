"""Pairs of similar 64-bit hashes among hundreds of thousands."""

from collections.abc import Iterator
from typing import Any

import numpy as np

BANDS = 4
BAND_BITS = 16
RADIUS = 9
"""Largest number of differing bits. All pairs up to 7 are found: one of four
bands then differs in at most one bit. Of 8 and 9, nearly all."""
BATCH = 1 << 23
"""Comparisons at a time; bounds the memory."""


class HashIndex:
    """Finds the hashes near to others, without comparing all with all.

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): the 64 bits
    are cut into bands, and compared are only hashes that are equal, up to
    one bit, in a band.

    Args:
        hashes (np.ndarray): uint64 (N,).
    """

    def __init__(self, hashes: np.ndarray) -> None:
        self.hashes = np.ascontiguousarray(hashes, np.uint64)
        self._tables = []
        for band in range(BANDS):
            keys = _keys(self.hashes, band)
            order = np.argsort(keys, kind='stable')
            ends = np.cumsum(np.bincount(keys, minlength=1 << BAND_BITS))
            self._tables.append((order, np.concatenate([[0], ends])))

    def near(self, hashes: np.ndarray, radius: int = RADIUS) -> np.ndarray:
        """Find what is near to the i-th hash, other than the i-th itself.

        Args:
            hashes (np.ndarray): uint64 (N,), one per member of the index.
            radius (int): Largest number of differing bits. Defaults to 9.

        Returns:
            np.ndarray: int64 (n, 3): number in ``hashes``, number in the
            index, differing bits; sorted, each pair once.
        """
        hashes = np.ascontiguousarray(hashes, np.uint64)
        found: list[np.ndarray] = [np.zeros((0, 3), np.int64)]
        for asked, member in self._candidates(hashes):
            bits = np.bitwise_count(hashes[asked] ^ self.hashes[member])
            keep = (bits <= radius) & (asked != member)
            if keep.any():
                rows = (asked[keep], member[keep], bits[keep])
                found.append(np.stack(rows, 1).astype(np.int64))
        return np.unique(np.concatenate(found), axis=0)

    def _candidates(self, hashes: np.ndarray) -> Iterator[tuple[Any, ...]]:
        masks = [0, *(1 << bit for bit in range(BAND_BITS))]
        for band, (order, starts) in enumerate(self._tables):
            keys = _keys(hashes, band)
            for mask in masks:
                asked = keys ^ mask
                first = starts[asked]
                yield from _expand(first, starts[asked + 1] - first, order)


def _expand(
    first: np.ndarray, counts: np.ndarray, order: np.ndarray
) -> Iterator[tuple[Any, ...]]:
    """Pair the i-th query with members ``order[first[i]] ..`` in batches."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, done + BATCH, side='right'))
        stop = max(stop, start + 1)
        here = counts[start:stop]
        asked = np.repeat(np.arange(start, stop), here)
        offsets = np.arange(ends[stop - 1] - done)
        offsets -= np.repeat(ends[start:stop] - here - done, here)
        yield asked, order[first[asked] + offsets]
        start = stop


def _keys(hashes: np.ndarray, band: int) -> np.ndarray:
    shift = np.uint64(band * BAND_BITS)
    return ((hashes >> shift) & np.uint64(0xFFFF)).astype(np.int64)
