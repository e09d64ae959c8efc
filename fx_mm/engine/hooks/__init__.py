from .checkpoint_hook import CyclicCheckpointHook
from .forgetting_hook import ForgettingHook
from .lock_release_hook import LockReleaseHook
from .mean_teacher_hook import MeanTeacherHook
from .pass_log_hook import CyclicRuntimeInfoHook, PassLogHook
from .prediction_sheet_hook import PredictionSheetHook
from .progress_hook import ProgressHook
from .sync_statistics_hook import SyncStatisticsHook

__all__ = [
    'CyclicCheckpointHook',
    'CyclicRuntimeInfoHook',
    'ForgettingHook',
    'LockReleaseHook',
    'MeanTeacherHook',
    'PassLogHook',
    'PredictionSheetHook',
    'ProgressHook',
    'SyncStatisticsHook',
]
