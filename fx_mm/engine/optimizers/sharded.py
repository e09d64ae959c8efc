"""Optimizer state shared out over the processes."""

from typing import Any

from mmengine.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer

from fx_mm.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class ShardedOptimizer(ZeroRedundancyOptimizer):
    """ZeRO stage 1: each process keeps the state of a part of the weights.

    mmengine's class gathers the state inside of ``state_dict``, which its
    Runner calls on the main process alone: that waits for ever. Here the
    checkpoint hook gathers on all processes, before the main one writes.

    Args:
        params (Iterable): Parameters or groups of them.
        optimizer_type (str): Name of a class of ``torch.optim``.
        **kwargs: Its arguments.
    """

    _all_state_dicts: list[dict[str, Any]]

    def gather_state(self) -> None:
        """Bring the whole state to the main process; all must call it."""
        self.consolidate_state_dict(to=0)

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Step, and send each weight from where its state is."""
        # torch warns when a lock pass begins or ends that it would rebuild
        # its buckets; there are none unless parameters_as_bucket_view is set.
        if not self.parameters_as_bucket_view:
            self._is_trainable_mask = self._get_is_trainable_mask()
        return super().step(*args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return the gathered state, or this process's part of it."""
        if not self._all_state_dicts:
            return Optimizer.state_dict(self)
        state = super(ZeroRedundancyOptimizer, self).state_dict()
        self._all_state_dicts = []
        return state
