"""Lookup tables of a DICOM (PS3.3, C.11.1.1 and C.11.2.1.1).

pydicom's own refuse a table of 12 bits or one entry short, and wrap the
places of a table of 8 bits around.
"""

from typing import NamedTuple

import numpy as np

from fx_mm.image_io.dicom_tags import DicomTags
from fx_mm.image_io.pixels import stretch

ENOUGH = 0.9
"""Share of its entries that a table must have."""


class Histogram(NamedTuple):
    """The values of an image, padding left out.

    Attributes:
        values (np.ndarray): Each once, shape (n,).
        shares (np.ndarray): Of the pixels, shape (n,).
    """

    values: np.ndarray
    shares: np.ndarray


class Table(NamedTuple):
    """A lookup table.

    Attributes:
        first (int): The input of its first entry; lower ones have it too.
        entries (np.ndarray): Inputs above the last have the last.
    """

    first: int
    entries: np.ndarray

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Map values of any shape."""
        if values.dtype.kind == 'f':
            values = np.rint(values)
        places = values.astype(np.int64) - self.first
        return self.entries[np.clip(places, 0, len(self.entries) - 1)]

    def grey(self, values: np.ndarray) -> np.ndarray:
        """Map values of any shape to uint8, of the range of the entries."""
        low, high = float(self.entries.min()), float(self.entries.max())
        grey = stretch(self.entries, low, high)
        return Table(self.first, grey).look_up(values)

    def share_outside(self, seen: Histogram) -> float:
        """Return the share of pixels that the table has no entry for."""
        last = self.first + len(self.entries) - 1
        outside = (seen.values < self.first) | (seen.values > last)
        return float(seen.shares[outside].sum())


def read_table(item: DicomTags, name: str, seen: Histogram) -> Table | None:
    """Read a table; None with a warning if it cannot be one.

    Args:
        item (DicomTags): Of the table's sequence.
        name (str): What warnings call it.
        seen (Histogram): Its inputs, which tell the sign of its first one.

    Returns:
        Table: With the entries that are there, if a few are missing.
    """
    warn = item.decisions.warn
    descriptor = item.numbers('LUTDescriptor')
    entries = _entries(item, descriptor)
    if len(descriptor) < 2 or None in descriptor[:2] or entries is None:
        warn(name, f'{name} cannot be read; it is not used.')
        return None
    count = int(descriptor[0] or 0) % 2**16 or 2**16
    if len(entries) < ENOUGH * count:
        warn(
            name,
            f'{name} has {len(entries)} entries instead of {count}; it is '
            'not used.',
        )
        return None
    if entries.min() == entries.max():
        warn(name, f'{name} has one value; it is not used.')
        return None
    if len(entries) < count:
        warn(
            name,
            f'{name} has {len(entries)} entries instead of {count}; the last '
            'one is taken for the others.',
        )
    first = int(descriptor[1] or 0)
    table = Table(first, entries[:count])
    # its 16 bits are signed where the inputs are: 63536 is -2000 then
    signed = seen.values.min() < 0
    other = first - 2**16 if signed else first + 2**16
    if (first >= 2**15) if signed else (first < 0):
        tables = table, table._replace(first=other)
        return min(tables, key=lambda table: table.share_outside(seen))
    return table


def _entries(
    item: DicomTags, descriptor: list[float | None]
) -> np.ndarray | None:
    """Return the entries, int64; None if there are none."""
    try:
        data = item.dataset['LUTData'].value
        if isinstance(data, bytes):
            count = int(descriptor[0] or 0) % 2**16 or 2**16
            # entries of 8 bits are packed by some, or fill 16 by the standard
            packed = len(data) < 2 * count - 2 and descriptor[2] == 8
            little = item.dataset.original_encoding[1] is not False
            code = 'u1' if packed else '<u2' if little else '>u2'
            size = np.dtype(code).itemsize
            data = np.frombuffer(data[: len(data) // size * size], code)
        values = np.atleast_1d(np.asarray(data, np.int64))
    except Exception:  # missing, or of another type
        return None
    return values % 2**16
