"""Typed predictions: one class per kind, and all of one image."""

from fx_mm.visualization.results.base import (
    SCORE_THR,
    Marks,
    TaskResult,
    result_class,
)
from fx_mm.visualization.results.cls_result import ClsResult
from fx_mm.visualization.results.image_result import ImageResult
from fx_mm.visualization.results.loc_result import LocResult
from fx_mm.visualization.results.reg_result import RegResult
from fx_mm.visualization.results.report_result import ReportResult
from fx_mm.visualization.results.seg_result import SegResult
from fx_mm.visualization.results.self_supervised_result import (
    SelfSupervisedResult,
)

__all__ = [
    'SCORE_THR',
    'ClsResult',
    'ImageResult',
    'LocResult',
    'Marks',
    'SelfSupervisedResult',
    'RegResult',
    'ReportResult',
    'SegResult',
    'TaskResult',
    'result_class',
]
