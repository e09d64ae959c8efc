from .checkpoint_hook import CyclicCheckpointHook
from .lock_release_hook import LockReleaseHook
from .mean_teacher_hook import MeanTeacherHook
from .pass_log_hook import CyclicRuntimeInfoHook, PassLogHook
from .prediction_sheet_hook import PredictionSheetHook

__all__ = [
    'CyclicCheckpointHook',
    'CyclicRuntimeInfoHook',
    'LockReleaseHook',
    'MeanTeacherHook',
    'PassLogHook',
    'PredictionSheetHook',
]
