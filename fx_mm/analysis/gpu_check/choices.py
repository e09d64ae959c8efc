"""Let runs on two devices choose the same queries and matches.

The proposals with the best scores become queries, and queries are matched
with true boxes. Where two scores or costs are nearly equal, rounding decides:
then a loss differs by a percent, although nothing is wrong.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fx_mm.models import StackedMatcher


class Choices:
    """What a first run chose, and what later ones choose as well.

    Args:
        best (Sequence[Tensor]): Indices that ``topk`` gives, call by call.
            Defaults to none: a first run chooses.
    """

    def __init__(self, best: Sequence[Tensor] = ()) -> None:
        self._best = list(best)
        self._matches: list[Any] = []

    @contextlib.contextmanager
    def kept(self, model: nn.Module) -> Iterator[None]:
        """Choose as before inside of a ``with``, or keep what is chosen.

        Args:
            model (Module): Whose matchers choose.
        """
        heads: list[Any] = [
            module
            for module in model.modules()
            if isinstance(getattr(module, 'matcher', None), StackedMatcher)
        ]
        matchers = [head.matcher for head in heads]
        calls = iter(range(10**6))
        for head, matcher in zip(heads, matchers):
            head.matcher = _repeat(
                matcher,
                self._matches,
                calls,
                keep=lambda found: found,
                give=lambda args, kept: tuple(
                    each.to(args[0].device) for each in kept
                ),
            )
        topk = _repeat(
            torch.topk,
            self._best,
            iter(range(10**6)),
            keep=lambda found: found.indices,
            give=_values_at,
        )
        try:
            with _InPlaceOfTopk(topk):
                yield
        finally:
            for head, matcher in zip(heads, matchers):
                head.matcher = matcher


class _InPlaceOfTopk(TorchFunctionMode):
    """Calls another function for ``topk``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        chooses = func in (torch.topk, Tensor.topk)
        call = self._function if chooses else func
        return call(*args, **(kwargs or {}))


def _values_at(args: tuple[Any, ...], indices: Tensor) -> Any:
    indices = indices.to(args[0].device)
    values = args[0].gather(-1, indices)
    return torch.return_types.topk((values, indices))


def _repeat(
    function: Callable[..., Any],
    known: list[Any],
    calls: Iterator[int],
    keep: Callable[[Any], Any],
    give: Callable[[tuple[Any, ...], Any], Any],
) -> Callable[..., Any]:
    """Return a function that gives again what it has given, call by call."""

    def repeated(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        if number < len(known):
            return give(args, known[number])
        found = function(*args, **kwargs)
        known.append(keep(found))
        return found

    return repeated
