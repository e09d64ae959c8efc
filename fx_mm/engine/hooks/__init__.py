from fx_mm.engine.hooks.checkpoint_hook import CyclicCheckpointHook
from fx_mm.engine.hooks.early_stopping_hook import CyclicEarlyStoppingHook
from fx_mm.engine.hooks.ewc import EWC
from fx_mm.engine.hooks.forgetting_hook import ForgettingHook
from fx_mm.engine.hooks.frozen_teacher import FrozenTeacher
from fx_mm.engine.hooks.lock_release_hook import LockReleaseHook
from fx_mm.engine.hooks.lwf import LwF
from fx_mm.engine.hooks.mean_teacher_hook import MeanTeacherHook
from fx_mm.engine.hooks.pass_log_hook import PassLogHook
from fx_mm.engine.hooks.prediction_sheet_hook import PredictionSheetHook
from fx_mm.engine.hooks.progress_hook import ProgressHook
from fx_mm.engine.hooks.pseudo_label_hook import PseudoLabelHook
from fx_mm.engine.hooks.runtime_info_hook import CyclicRuntimeInfoHook
from fx_mm.engine.hooks.sync_statistics_hook import SyncStatisticsHook

__all__ = [
    'CyclicCheckpointHook',
    'CyclicEarlyStoppingHook',
    'CyclicRuntimeInfoHook',
    'EWC',
    'ForgettingHook',
    'FrozenTeacher',
    'LockReleaseHook',
    'LwF',
    'MeanTeacherHook',
    'PassLogHook',
    'PredictionSheetHook',
    'ProgressHook',
    'PseudoLabelHook',
    'SyncStatisticsHook',
]
