from fx_mm.utils.check_env import check_environment

# Before the imports that would fail with a riddle where it finds something.
check_environment()

from fx_mm.apis.dry_run import dry_run
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.apis.model import load_model
from fx_mm.config import expand_config, load_config
from fx_mm.engine.closing_report import ReportOptions, report_predictions
from fx_mm.engine.runner import MultiTaskRunner, build_runner

__all__ = [
    'FoundationXInferencer',
    'build_runner',
    'dry_run',
    'expand_config',
    'load_config',
    'load_model',
    'MultiTaskRunner',
    'ReportOptions',
    'report_predictions',
]
