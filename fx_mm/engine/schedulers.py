"""Learning-rate schedules that are functions of the cycle."""

import math
from typing import Any

from mmengine.optim import OptimWrapper, _ParamScheduler
from torch.optim import Optimizer

from fx_mm.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class CycleCosineLR(_ParamScheduler):
    """Warm up, then a cosine, constant within a cycle.

    Every task of a cycle gets the same rate, be it first or last (reference:
    ``step_decay``, set once per cycle; first cycle at 1/20 of the rate).

    Args:
        optimizer (OptimWrapper): The optimizer wrapper.
        passes_per_cycle (int): Filled in by ``expand_config``.
        max_cycles (int): Filled in by ``expand_config``.
        warmup_cycles (int): Cycles of linear warm-up. Defaults to 1.
        start_factor (float): Factor in the first of them. Defaults to 0.05.
        end_factor (float): Factor that the cosine goes to. Defaults to 0.
        cosine_from_start (bool): Whether the cosine counts from the first
            cycle, so that the warm-up ends below the base rate, as timm's
            (Ark), instead of from the end of the warm-up. Defaults to False.
    """

    def __init__(
        self,
        optimizer: Optimizer | OptimWrapper,
        passes_per_cycle: int,
        max_cycles: int,
        warmup_cycles: int = 1,
        start_factor: float = 0.05,
        end_factor: float = 0.0,
        cosine_from_start: bool = False,
        param_name: str = 'lr',
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.passes_per_cycle = passes_per_cycle
        self.max_cycles = max_cycles
        self.warmup_cycles = warmup_cycles
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.cosine_from_start = cosine_from_start
        super().__init__(optimizer, param_name, **kwargs)

    def factor(self, cycle: int) -> float:
        """Return the factor on the base rate in a cycle."""
        if cycle < self.warmup_cycles:
            share = cycle / self.warmup_cycles
            return self.start_factor + (1 - self.start_factor) * share
        start = 0 if self.cosine_from_start else self.warmup_cycles
        share = min((cycle - start) / max(self.max_cycles - start, 1), 1)
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        return self.end_factor + (1 - self.end_factor) * cosine

    def state_dict(self) -> dict[str, int]:
        """Return the position alone: the values follow from the config."""
        return dict(_global_step=self._global_step)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go to a position; lengths and factors stay the config's."""
        super().load_state_dict(state_dict)
        # The base class stops counting at the end of the former run.
        self.last_step = self._global_step
        values = self._get_value()
        for group, value in zip(self.optimizer.param_groups, values):
            group[self.param_name] = value

    def _get_value(self) -> list[float]:
        factor = self.factor(self.last_step // self.passes_per_cycle)
        return [base * factor for base in self.base_values]
