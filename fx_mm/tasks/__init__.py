"""Tasks: what a run trains, and the one row per kind that says how."""

from fx_mm.tasks.by_kind import ByKind, check_by_kind, for_kind
from fx_mm.tasks.kinds import (
    TASK_KINDS,
    ClassificationKind,
    Column,
    Kind,
    LocalizationKind,
    RegressionKind,
    ReportKind,
    SegmentationKind,
    SelfSupervisedKind,
    TaskKind,
    all_kinds,
    find_kind,
)
from fx_mm.tasks.schema import SPLITS
from fx_mm.tasks.table import MEAN, TaskTable
from fx_mm.tasks.task import Task, split_name, task_of

MODES = ('lock', 'lock_plus', 'release')
"""Lock states of a pass."""
MIXED = 'mixed'
"""Stands for the task of a pass that holds several."""

__all__ = [
    'MEAN',
    'MIXED',
    'MODES',
    'SPLITS',
    'TASK_KINDS',
    'ByKind',
    'ClassificationKind',
    'Column',
    'Kind',
    'LocalizationKind',
    'RegressionKind',
    'ReportKind',
    'SegmentationKind',
    'SelfSupervisedKind',
    'Task',
    'TaskKind',
    'TaskTable',
    'all_kinds',
    'check_by_kind',
    'find_kind',
    'for_kind',
    'split_name',
    'task_of',
]
