"""Records of a split as a few arrays instead of many Python objects."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

CHUNK = 8192
"""Texts that are encoded at a time."""


class Records(Sequence):
    """An immutable list of records, stored by column.

    Half a million dicts cost about 0.5 GB, and each worker process copies
    them bit by bit, since counting a reference writes to the object's page.
    Columns of bytes and numbers take a tenth and stay shared.

    Args:
        records (list[dict]): All with the same keys. Values are strings,
            arrays (equal in all but the first dimension), dicts of strings
            and None with equal keys, or another object, the same in all.

    Raises:
        ValueError: If the keys of the records differ.
    """

    def __init__(self, records: list[dict[Any, Any]]) -> None:
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

    @classmethod
    def of_columns(cls, **columns: Any) -> 'Records':
        """Build from columns of equal length, without one dict per record.

        Args:
            **columns: Key of the records to list of strings and None, array
                with one row per record, :class:`Ragged`, :class:`Same`, or
                dict of such lists.

        Raises:
            ValueError: If the lengths differ.
        """
        records = cls([])
        for key, values in columns.items():
            if isinstance(values, np.ndarray):
                values = _Rows(values)
            elif isinstance(values, dict):
                values = _Dicts(values)
            elif not isinstance(values, (Ragged, Same)):
                values = _Texts(values)
            records._columns[key] = values
        lengths = {key: len(c) for key, c in records._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f'The columns have the lengths {lengths}.')
        records._length = next(iter(lengths.values()), 0)
        return records

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int | slice) -> Any:
        """Return a fresh dict, whose arrays may be written to."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f'record {index} of {len(self)}')
        index %= len(self)
        return {key: column[index] for key, column in self._columns.items()}

    def has(self, key: str) -> bool:
        """Whether the records have this key."""
        return key in self._columns

    def column(self, key: str) -> Any:
        """Return one column, indexable like the records."""
        return self._columns[key]


def _column(values: list[Any]) -> Any:
    if isinstance(values[0], str):
        return _Texts(values)
    if isinstance(values[0], dict):
        return _Dicts({k: [v[k] for v in values] for k in values[0]})
    if not isinstance(values[0], (np.ndarray, list)):
        return Same(values[0], len(values))
    return Ragged(
        np.concatenate(values), np.array([len(v) for v in values], np.int64)
    )


class _Texts:
    """Strings and None, UTF-8 encoded one after the other."""

    def __init__(self, values: list[str | None]) -> None:
        data = bytearray()
        lengths: list[int] = []
        for start in range(0, len(values), CHUNK):
            block = values[start : start + CHUNK]
            encoded = [(v or '').encode() for v in block]
            lengths += map(len, encoded)
            data += b''.join(encoded)
        self._none = np.array([v is None for v in values], bool)
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._bytes = np.frombuffer(data, np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str | None:
        if self._none[index]:
            return None
        start = self._ends[index - 1] if index else 0
        return self._bytes[start : self._ends[index]].tobytes().decode()

    def __iter__(self) -> Iterator[str | None]:
        # five times as fast as by index
        data, ends = self._bytes.tobytes(), self._ends.tolist()
        for start, end, none in zip([0, *ends], ends, self._none.tolist()):
            yield None if none else data[start:end].decode()


class Ragged:
    """Arrays one after the other along their first dimension.

    Args:
        values (np.ndarray): All arrays, concatenated.
        lengths (np.ndarray): int64 (n,), length of each.
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray) -> None:
        self.lengths = lengths
        self._values = values
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        start = self._ends[index - 1] if index else 0
        return self._values[start : self._ends[index]].copy()


class Same:
    """One object for all records.

    Args:
        value (Any): The object.
        length (int): Number of records.
    """

    def __init__(self, value: Any, length: int) -> None:
        self._value = value
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        return self._value


class _Rows:
    """Arrays of one shape."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._values[index].copy()


class _Dicts:
    """Dicts of texts, one text column per key."""

    def __init__(self, values: dict[Any, Any]) -> None:
        self._texts = {key: _Texts(texts) for key, texts in values.items()}

    def __len__(self) -> int:
        return len(next(iter(self._texts.values())))

    def __getitem__(self, index: int) -> dict[Any, Any]:
        return {key: texts[index] for key, texts in self._texts.items()}
