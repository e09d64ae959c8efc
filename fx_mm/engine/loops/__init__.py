"""Loops: training in cycles of passes, evaluation task by task."""

from .eval_loop import MultiTaskTestLoop, MultiTaskValLoop
from .train_loop import CyclicTrainLoop, seed_iteration

__all__ = [
    'CyclicTrainLoop',
    'MultiTaskTestLoop',
    'MultiTaskValLoop',
    'seed_iteration',
]
