"""Experiment trackers: the same tags, pictures and report in each."""

from fx_mm.engine.trackers.base import Tracker, report_to_trackers
from fx_mm.engine.trackers.mlflow_tracker import MLflowTracker
from fx_mm.engine.trackers.tensorboard_tracker import TensorboardTracker
from fx_mm.engine.trackers.wandb_tracker import WandbTracker

__all__ = [
    'MLflowTracker',
    'TensorboardTracker',
    'Tracker',
    'WandbTracker',
    'report_to_trackers',
]
