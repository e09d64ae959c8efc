"""One update out of the gradients of several tasks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fx_mm.utils.errors import UserError


class GradientSurgery:
    """Keep the gradients of an update's tasks apart, then combine them.

    Parameters that several of the tasks reach, the shared ones, get what an
    aggregator of `torchjd <https://torchjd.org>`_ makes of the tasks'
    gradients, one row each; all others their sum, as without it.

    Args:
        optimizer (Optimizer): The optimizer.
        aggregator (str | dict): Name of a class of ``torchjd.aggregation``
            (``PCGrad``, ``AlignedMTL``, ``IMTLG``, ``UPGrad``, ...), or a
            dict of it (``type``) and its arguments.

    Raises:
        UserError: If there is no such class, it keeps a state between
            updates, or a package is missing.
    """

    def __init__(
        self, optimizer: Optimizer, aggregator: str | dict[str, Any]
    ) -> None:
        self.optimizer = optimizer
        self.aggregate = _build(aggregator)
        self._rows: dict[str, dict[nn.Parameter, Tensor]] = {}

    def collect(self, task: str) -> None:
        """Take the gradients of one batch away from the parameters."""
        row = self._rows.setdefault(task, {})
        for group in self.optimizer.param_groups:
            for p in group['params']:
                if p.grad is not None:
                    row[p] = row[p] + p.grad if p in row else p.grad.clone()
                    p.grad = None

    def combine(self, seed: int) -> None:
        """Give the parameters the gradients of the update.

        Args:
            seed (int): Of what an aggregator draws, the same in all
                processes.
        """
        rows, self._rows = list(self._rows.values()), {}
        shared = []
        for group in self.optimizer.param_groups:
            for p in group['params']:
                found = [row[p] for row in rows if p in row]
                if found:
                    p.grad = sum(found[1:], found[0])
                if len(found) > 1:
                    shared.append(p)
        if not shared:
            return
        # one of zeros would be a task that nothing can help
        rows = [row for row in rows if any(p in row for p in shared)]
        matrix = torch.stack(
            [
                torch.cat(
                    [row.get(p, torch.zeros_like(p)).flatten() for p in shared]
                )
                for row in rows
            ]
        )
        # what is not finite stays so, and the step is left out
        if not matrix.isfinite().all():
            return
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            vector = self.aggregate(matrix)
        for p, part in zip(shared, vector.split([p.numel() for p in shared])):
            p.grad = part.view_as(p)


def _build(aggregator: str | dict[str, Any]) -> Any:
    where = 'optim_wrapper.aggregator'
    cfg = aggregator if isinstance(aggregator, dict) else {'type': aggregator}
    options = {key: value for key, value in cfg.items() if key != 'type'}
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise UserError(
            f'{where} needs the package torchjd: pip install torchjd.'
        ) from error
    base = aggregation.Aggregator
    found = getattr(aggregation, str(cfg.get('type')), None)
    if not isinstance(found, type) or not issubclass(found, base):
        known = [
            name
            for name, each in vars(aggregation).items()
            if isinstance(each, type)
            and issubclass(each, base)
            and not hasattr(each, 'reset')
        ]
        raise UserError(
            f'{where} is {aggregator!r}; it must be an aggregator of torchjd: '
            f'{", ".join(sorted(known))}.'
        )
    if hasattr(found, 'reset'):
        raise UserError(
            f'{where} {aggregator!r} remembers former updates, which '
            'checkpoints do not hold; take one without memory.'
        )
    try:
        return found(**options)
    except (ImportError, TypeError, ValueError) as error:
        raise UserError(f'{where} {aggregator!r}: {error}') from error
