"""The optimizer's groups, steps and state."""

from fx_mm.engine.optimizers.constructor import MergedOptimWrapperConstructor
from fx_mm.engine.optimizers.optim_wrapper import MultiTaskOptimWrapper
from fx_mm.engine.optimizers.sharded import ShardedOptimizer

__all__ = [
    'MergedOptimWrapperConstructor',
    'MultiTaskOptimWrapper',
    'ShardedOptimizer',
]
