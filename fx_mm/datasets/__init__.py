"""Datasets: annotation files to samples of one task each.

What a name stands for is imported when it is first used: who prepares data or
reads a table needs no torch, which takes seconds and hundreds of MB.
"""

import importlib
from typing import Any

_MODULES = dict(
    MultiTaskDataset='multi_task_dataset',
    Records='records',
    SyntheticDataset='synthetic',
    TaskDataset='task_dataset',
)

__all__ = [
    'MultiTaskDataset',
    'Records',
    'SyntheticDataset',
    'TaskDataset',
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__} has no attribute {name}')
    module = importlib.import_module(f'{__name__}.{_MODULES[name]}')
    return getattr(module, name)
