"""Let runs on two devices choose the same queries and matches.

The proposals with the best scores become queries, and queries are matched
with true boxes. Where two scores or costs are nearly equal, rounding decides:
then a loss differs by a percent, although nothing is wrong.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from fx_mm.models import StackedMatcher


class Choices:
    """What a first run chose, and what later ones choose as well.

    Args:
        best (Sequence[Tensor]): Indices that ``Tensor.topk`` gives, call by
            call. Defaults to none: a first run chooses.
    """

    def __init__(self, best: Sequence[Tensor] = ()) -> None:
        self._best = list(best)
        self._matches: list[Any] = []

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Choose as before inside of a ``with``, or keep what is chosen."""
        topk = _repeat(
            torch.Tensor.topk,
            self._best,
            keep=lambda found: found.indices,
            give=_values_at,
        )
        match = _repeat(
            StackedMatcher.__call__,
            self._matches,
            keep=lambda found: found,
            give=lambda args, kept: tuple(x.to(args[1].device) for x in kept),
        )
        with (
            patch.object(torch.Tensor, 'topk', topk),
            patch.object(StackedMatcher, '__call__', match),
        ):
            yield


def _values_at(args: tuple[Any, ...], indices: Tensor) -> Any:
    indices = indices.to(args[0].device)
    values = args[0].gather(-1, indices)
    return torch.return_types.topk((values, indices))


def _repeat(
    function: Callable[..., Any],
    known: list[Any],
    keep: Callable[[Any], Any],
    give: Callable[[tuple[Any, ...], Any], Any],
) -> Callable[..., Any]:
    """Return a function that gives again what it has given, call by call."""
    calls = iter(range(10**6))

    def repeated(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        if number < len(known):
            return give(args, known[number])
        found = function(*args, **kwargs)
        known.append(keep(found))
        return found

    return repeated
