"""Loops: training in cycles of passes, evaluation task by task."""

from fx_mm.engine.loops.eval_loop import MultiTaskTestLoop, MultiTaskValLoop
from fx_mm.engine.loops.train_loop import CyclicTrainLoop, seed_iteration

__all__ = [
    'CyclicTrainLoop',
    'MultiTaskTestLoop',
    'MultiTaskValLoop',
    'seed_iteration',
]
