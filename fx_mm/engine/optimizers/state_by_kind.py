"""The optimizer's state, kept apart for each task kind."""

from collections import defaultdict
from typing import Any

from torch.optim import Optimizer

from fx_mm.utils.errors import UserError


class StateByKind:
    """As many states of one optimizer as there are task kinds.

    The running averages of Adam mix what follows each other: a kind with
    large gradients makes the steps of the others small for as long as the
    average of squares remembers it. Here each kind has averages of its own,
    of the shared parts too, and counts its own steps.

    Args:
        optimizer (Optimizer): Any of torch's that keeps its state in
            ``state``.

    Raises:
        UserError: If it is a ``ShardedOptimizer``.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if hasattr(optimizer, 'gather_state'):
            raise UserError(
                'optim_wrapper.state_by_kind does not work with '
                'ShardedOptimizer, which shares out one state; take another '
                'optimizer.'
            )
        self.optimizer = optimizer
        self._states: dict[str, defaultdict[Any, Any]] = {}
        self.kind: str | None = None

    def use(self, kind: str) -> None:
        """Step with the state of a kind from now on."""
        self._keep()
        self.kind = kind
        state = self._states.setdefault(kind, defaultdict(dict))
        self.optimizer.state = state

    def _keep(self) -> None:
        # loading a state makes a new dict
        if self.kind is not None:
            self._states[self.kind] = self.optimizer.state

    def state_dicts(self) -> dict[str, dict[int, Any]]:
        """Return the state by number of the parameter, of each kind."""
        self._keep()
        found = {}
        for kind, state in self._states.items():
            self.optimizer.state = state
            found[kind] = self.optimizer.state_dict()['state']
        if self.kind is not None:
            self.optimizer.state = self._states[self.kind]
        return found
