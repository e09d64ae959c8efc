"""Datasets: annotation files to samples of one task each."""

from . import readers, samplers, transforms
from .multi_task_dataset import MultiTaskDataset
from .records import Records
from .synthetic import SyntheticDataset
from .task_dataset import TaskDataset
from .xray_io import ImageReadError, read_xray

__all__ = [
    'ImageReadError',
    'MultiTaskDataset',
    'Records',
    'SyntheticDataset',
    'TaskDataset',
    'read_xray',
    'readers',
    'samplers',
    'transforms',
]
