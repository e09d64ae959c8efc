"""Metrics of the three task kinds, intervals, and the benchmark table."""

from .cls_metric import ClsMetric
from .loc_metric import LocMetric
from .seg_metric import SegMetric
from .table import BenchmarkTable

__all__ = ['BenchmarkTable', 'ClsMetric', 'LocMetric', 'SegMetric']
