"""Records of a split as a few arrays instead of many Python objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Records(Sequence):
    """An immutable list of records, stored by column.

    Half a million dicts cost about 0.5 GB, and each worker process copies
    them bit by bit, since counting a reference writes to the object's page.
    Columns of bytes and numbers take a tenth and stay shared.

    Args:
        records (list[dict]): All with the same keys. Values are strings,
            arrays (equal in all but the first dimension), or dicts of
            strings and None with equal keys.

    Raises:
        ValueError: If the keys of the records differ.
    """

    def __init__(self, records: list[dict]) -> None:
        self._length = len(records)
        keys = list(records[0]) if records else []
        for number, record in enumerate(records):
            if list(record) != keys:
                raise ValueError(
                    f'Record {number} has the keys {list(record)}, '
                    f'but record 0 has {keys}.'
                )
        self._columns = {
            key: _column([record[key] for record in records]) for key in keys
        }

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int | slice) -> Any:
        """Give a fresh dict, whose arrays may be written to."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f'record {index} of {len(self)}')
        index %= len(self)
        return {key: column[index] for key, column in self._columns.items()}

    def column(self, key: str) -> Any:
        """Give one column, indexable like the records."""
        return self._columns[key]


def _column(values: list) -> Any:
    if isinstance(values[0], str):
        return _Texts(values)
    if isinstance(values[0], dict):
        return _Dicts(values)
    return _Arrays(values)


class _Texts:
    """Strings and None, UTF-8 encoded one after the other."""

    def __init__(self, values: list[str | None]) -> None:
        encoded = [(v or '').encode() for v in values]
        self._none = np.array([v is None for v in values], bool)
        self._ends = np.cumsum([len(e) for e in encoded], dtype=np.int64)
        self._bytes = np.frombuffer(b''.join(encoded), np.uint8)

    def __getitem__(self, index: int) -> str | None:
        if self._none[index]:
            return None
        start = self._ends[index - 1] if index else 0
        return self._bytes[start : self._ends[index]].tobytes().decode()


class _Arrays:
    """Arrays one after the other along their first dimension."""

    def __init__(self, values: list[np.ndarray]) -> None:
        self.lengths = np.array([len(v) for v in values], np.int64)
        self._ends = np.cumsum(self.lengths)
        self._values = np.concatenate(values)

    def __getitem__(self, index: int) -> np.ndarray:
        start = self._ends[index - 1] if index else 0
        return self._values[start : self._ends[index]].copy()


class _Dicts:
    """Dicts of texts, one text column a key."""

    def __init__(self, values: list[dict]) -> None:
        self._texts = {k: _Texts([v[k] for v in values]) for k in values[0]}

    def __getitem__(self, index: int) -> dict:
        return {key: texts[index] for key, texts in self._texts.items()}
