"""Samplers: which image comes when, as task-homogeneous batches of keys."""

from .cyclic_sampler import CyclicBatchSampler
from .eval_sampler import TaskSequentialBatchSampler
from .keys import SampleKey

__all__ = ['CyclicBatchSampler', 'SampleKey', 'TaskSequentialBatchSampler']
