"""What of a release is not used: said at once and kept for the manifest."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import print_log

_collecting: list[list] = []


def leave_out(count: int, what: str) -> None:
    """Say how much of a release is not used and why.

    Args:
        count (int): How many; nothing is said of 0.
        what (str): Such as ``images that have no row in train-rle.csv``.
    """
    if not count:
        return
    print_log(f'Left out: {count} {what}.', logger='current')
    for notes in _collecting:
        notes.append(f'left out: {count} {what}')


@contextmanager
def collect_left_out() -> Iterator[list]:
    """Collect what is left out within.

    Yields:
        list[str]: One text for each call of :func:`leave_out`.
    """
    notes: list = []
    _collecting.append(notes)
    try:
        yield notes
    finally:
        _collecting.remove(notes)
