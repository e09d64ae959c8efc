"""How long what repeats takes."""

from collections import defaultdict
from collections.abc import Hashable


class Pace:
    """Mean seconds of what repeats, for the estimated time of arrival."""

    def __init__(self) -> None:
        self._sums: dict[Hashable, float] = defaultdict(float)
        self._counts: dict[Hashable, int] = defaultdict(int)

    def add(self, key: Hashable, seconds: float, count: int = 1) -> None:
        """Add what took so long, ``count`` times in all."""
        self._sums[key] += seconds
        self._counts[key] += count

    def mean(self, key: Hashable) -> float:
        """Return the mean of a key, or of all keys if it is not known yet."""
        if self._counts[key]:
            return self._sums[key] / self._counts[key]
        return sum(self._sums.values()) / max(sum(self._counts.values()), 1)


def format_seconds(seconds: float) -> str:
    """Write a time as h:mm:ss."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f'{minutes // 60}:{minutes % 60:02d}:{seconds:02d}'
