"""Samplers: which image comes when, as task-homogeneous batches of keys."""

from fx_mm.datasets.samplers.cyclic_sampler import CyclicBatchSampler
from fx_mm.datasets.samplers.eval_sampler import TaskSequentialBatchSampler
from fx_mm.datasets.samplers.keys import SampleKey

__all__ = ['CyclicBatchSampler', 'SampleKey', 'TaskSequentialBatchSampler']
