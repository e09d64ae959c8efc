"""Metrics of the task kinds, intervals, and the benchmark table."""

from fx_mm.evaluation.metrics.cls_metric import ClsMetric
from fx_mm.evaluation.metrics.loc_metric import LocMetric
from fx_mm.evaluation.metrics.masked_image_metric import MaskedImageMetric
from fx_mm.evaluation.metrics.neighbour_metric import NeighbourMetric
from fx_mm.evaluation.metrics.reg_metric import RegMetric
from fx_mm.evaluation.metrics.report_metric import ReportMetric
from fx_mm.evaluation.metrics.seg_metric import SegMetric
from fx_mm.evaluation.report.benchmark_table import BenchmarkTable

__all__ = [
    'BenchmarkTable',
    'ClsMetric',
    'LocMetric',
    'MaskedImageMetric',
    'NeighbourMetric',
    'RegMetric',
    'ReportMetric',
    'SegMetric',
]
