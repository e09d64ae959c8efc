"""Datasets: annotation files to samples of one task each."""

from fx_mm.datasets import readers, samplers, transforms
from fx_mm.datasets.io.xray import ImageReadError, read_xray
from fx_mm.datasets.multi_task_dataset import MultiTaskDataset
from fx_mm.datasets.records import Records
from fx_mm.datasets.synthetic import SyntheticDataset
from fx_mm.datasets.task_dataset import TaskDataset

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
